"""The proof: real servers, many clients at once, and checkers for what they were given."""
