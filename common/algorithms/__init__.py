"""Federated algorithms, one a file: both sides' steps as pure functions over vectors."""
