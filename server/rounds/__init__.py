"""Rounds as data: work, sums, decisions, without I/O."""
