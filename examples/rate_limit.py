"""A limit for each client that holds across all workers, threads and hosts on one store."""

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from sharedstate import Cache

app = Flask(__name__)
app.config.from_prefixed_env()
cache = Cache(app)
limiter = Limiter(
    get_remote_address, app=app, storage_uri="sharedstate://", default_limits=["5 per minute"]
)


@app.get("/")
def home() -> str:
    return "one of five a minute"
