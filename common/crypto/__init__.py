"""Keys, signatures and ciphers: thin wrappers that fix every parameter, pure given their randomness."""
