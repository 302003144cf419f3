"""What decides under uncertainty, simulated: virtual time, a store that fails, and a seed."""
