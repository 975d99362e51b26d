"""Metrics, intervals and tests that take a site's cases as arrays; no input, output or global randomness."""
