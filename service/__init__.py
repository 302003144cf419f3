"""What the routes share: how requests are read, checked and answered, and how it is run."""
