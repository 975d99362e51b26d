"""The hospital's part in a secure sum: what it keeps, what it holds messages against, how it masks."""
