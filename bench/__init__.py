"""How fast the stores and the service are, beside what people use instead; see README.md."""
