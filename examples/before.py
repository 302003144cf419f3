"""The question: "Are global variables thread-safe in Flask?" This is the application in it.

It counts 1, 2, 3 on the development server. With threads it gives numbers twice, and with several
processes each counts for itself. ``after.py`` solves it.
"""

from flask import Flask


class Counter:
    def __init__(self, param: int) -> None:
        self.param = param

    def query(self) -> int:
        self.param += 1
        return self.param


app = Flask(__name__)
global_obj = Counter(0)


@app.get("/")
def home() -> str:
    return str(global_obj.query())
