"""A federation of real processes on this machine: coordinator, gateway and agents as hospitals run them."""
