"""What goes wrong while clients ask."""
