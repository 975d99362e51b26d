"""A hospital's data: manifest, table, images, checks, preparation, split and report."""
