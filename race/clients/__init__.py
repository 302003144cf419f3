"""Many clients at once, and what they read out of the responses."""
