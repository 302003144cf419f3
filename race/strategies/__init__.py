"""The ways of sharing state, as people write them: :mod:`.table` lists them."""
