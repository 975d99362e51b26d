"""The hospital: its data, its training, its evaluation, its decisions."""
