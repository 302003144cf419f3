"""Whether what clients saw can have happened."""
