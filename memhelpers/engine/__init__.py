"""Many networks as one: all that may change a number inside `fit`, and nothing else."""
