"""What is simulated, one subject a module."""
