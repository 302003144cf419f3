"""What the runs came to: for the terminal, for scripts and as a page."""
