"""Requests that are to be repeated later, with the key that they came with."""

from flask import Flask

from sharedstate.testing import MemoryCache


def test_too_many_requests():
    """A client that is told to come again, and does, gets what it asks for."""
    app, cache, paid = Flask(__name__), MemoryCache(), []
    cache.init_app(app)

    @app.post("/pay")
    @cache.idempotent()
    @cache.limit(1, per=60)
    def pay():
        paid.append(1)
        return "paid", 201

    client = app.test_client()

    def ask(key):
        return client.post("/pay", headers={"Idempotency-Key": key}).status_code

    assert [ask("a"), ask("b"), ask("b")] == [201, 429, 429]
    cache.clock.advance(60)
    assert [ask("b"), ask("b"), len(paid)] == [201, 201, 2]
