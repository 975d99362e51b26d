"""Scoring a model on a site's own patients."""
