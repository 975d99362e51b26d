"""What coordinator and hospitals both compute of a round: work, validation, encoding."""
