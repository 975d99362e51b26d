"""Ways to divide patients among virtual hospitals; every patient goes to exactly one."""
