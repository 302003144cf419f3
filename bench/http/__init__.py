"""``python -m bench.http``: the service over HTTP, beside what people deploy and what limits it."""
