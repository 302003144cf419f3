"""The solution: the object keeps its state in the store, which all workers share.

No two requests get the same number, whatever serves the application. The state is in a file in the
instance folder; ``FLASK_CACHE_URL=redis://…`` moves it to Redis.
"""

from flask import Flask

from sharedstate import Cache


class Counter:
    def __init__(self, key: str) -> None:
        self.key = key

    def query(self) -> int:
        return cache.inc(self.key)


app = Flask(__name__)
app.config.from_prefixed_env()
cache = Cache(app)
global_obj = Counter("param")


@app.get("/")
def home() -> str:
    return str(global_obj.query())
