"""Attacks on the protections, carried out against the production code: ``wardround attack``."""
