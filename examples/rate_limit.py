"""Limits for each client that hold across all workers, threads and hosts on one store."""

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from sharedstate import Cache

app = Flask(__name__)
app.config.from_prefixed_env()
cache = Cache(app)
limiter = Limiter(get_remote_address, app=app, storage_uri="sharedstate://")


@app.get("/")
@limiter.limit("5 per minute")
def home() -> str:
    return "one of five a minute"


@app.get("/own")
@cache.limit(5, per=60)
def own() -> str:
    return "the same without an extension"
