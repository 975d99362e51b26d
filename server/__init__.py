"""The coordinator: runs a study over Flower, round by round."""
