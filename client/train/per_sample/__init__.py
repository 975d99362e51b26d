"""One gradient per patient from one backward pass."""
