"""From network outputs to results, in evaluation and in serving alike."""
