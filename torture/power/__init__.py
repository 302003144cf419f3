"""Power cuts: what is left of a store's files, wherever the power fails."""
