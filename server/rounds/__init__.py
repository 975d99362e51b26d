"""Rounds as data: work, sums, decisions, without I/O; and how what was committed survives a restart."""
