"""An application of any number of workers and hosts, on one Redis."""

from flask import Flask

from sharedstate import Cache, StoreUnavailable

app = Flask(__name__)
app.config.from_mapping(CACHE_URL="redis://127.0.0.1:6379/0", CACHE_KEY_PREFIX="visits:")
app.config.from_prefixed_env()  # FLASK_CACHE_URL goes before it
cache = Cache(app)


@app.post("/visit")
def visit() -> dict[str, int]:
    return {"you are number": cache.inc("all")}


@app.errorhandler(StoreUnavailable)
def unavailable(error: StoreUnavailable) -> tuple[dict[str, str], int, dict[str, str]]:
    # Raised within CACHE_TIMEOUT, 2 seconds: a Redis that is down never blocks a worker for longer.
    return {"error": "the store is not available"}, 503, {"Retry-After": "1"}
