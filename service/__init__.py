"""What the routes share: how requests are read and checked, what they return, and how it is run."""
