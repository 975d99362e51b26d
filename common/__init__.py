"""What coordinator and hospital must agree on: pure, no file, socket, clock or global randomness."""
