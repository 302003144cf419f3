"""The solution: the same object, with its state in the store that all workers share.

No two requests get the same number, whatever serves the application. The state is in a file in the
instance folder; ``FLASK_CACHE_URL=redis://…`` moves it to Redis.
"""

from flask import Flask

from sharedstate import Cache


class Counter:
    def __init__(self, param: int) -> None:
        self.param = param

    def query(self) -> int:
        self.param += 1
        return self.param


app = Flask(__name__)
app.config.from_prefixed_env()
cache = Cache(app)
global_obj = cache.object("global_obj", Counter, 0)


@app.get("/")
def home() -> str:
    return str(global_obj.query())
