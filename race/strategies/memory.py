"""State in the memory of the process, as the question has it, and what people try next."""

from __future__ import annotations

import threading
import time
import uuid

from flask import Flask, session


class SomeObj:
    """The object of the question."""

    def __init__(self, param):
        self.param = param

    def query(self):
        self.param += 1
        return self.param


global_obj = SomeObj(0)


def global_variable() -> Flask:
    """The question's application: will 100 clients see the numbers 1 to 100?"""
    app = Flask(__name__)

    @app.route("/")
    def home():
        return str(global_obj.query())

    return app


class Singleton:
    """The one instance of its class, for all callers."""

    hits = 0
    _instance = None

    def __new__(cls):
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance


def singleton() -> Flask:
    app = Flask(__name__)

    @app.route("/")
    def home():
        counter = Singleton()
        counter.hits += 1
        return str(counter.hits)

    return app


lock = threading.Lock()


def global_with_lock() -> Flask:
    app = Flask(__name__)

    @app.route("/")
    def home():
        with lock:
            return str(global_obj.query())

    return app


EXPIRY_SECONDS = 20 * 60
visitors: dict[str, tuple[float, int]] = {}


def dict_by_session() -> Flask:
    """A number for each client, forgotten when it has not come for a while."""
    app = Flask(__name__)
    app.secret_key = "race"

    @app.route("/")
    def home():
        now = time.time()
        for visitor, (seen, _) in list(visitors.items()):
            if now - seen > EXPIRY_SECONDS:
                visitors.pop(visitor, None)
        visitor = session.setdefault("id", uuid.uuid4().hex)
        _, hits = visitors.get(visitor, (now, 0))
        visitors[visitor] = (now, hits + 1)
        return str(hits + 1)

    return app
