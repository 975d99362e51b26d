"""Files of weights that studies begin with: a hospital takes them from its own people and from nobody else."""
