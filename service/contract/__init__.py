"""What is sent and returned: schemas, bodies, replies, conditions, errors, OpenAPI."""
