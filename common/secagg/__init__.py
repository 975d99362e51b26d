"""Secure aggregation: the coordinator learns the sum over hospitals and nothing else. See README.md."""
