"""Drawing: results on pictures, and plots."""
