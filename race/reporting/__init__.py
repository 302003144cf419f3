"""What people see of a race: the terminal, JSON, a page."""
