"""What people and their files hand in: read with limits, or asked for on a terminal."""
