"""Patient-level differential privacy without I/O: the mechanism, what it costs, and its noise."""
