"""Training, whatever the task: the loop, weights on disk, logs."""
