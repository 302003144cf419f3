"""What the standard library offers to share between processes.

All of it is made when the module is imported, as people write it: once, before the server forks
its workers, or once in each worker.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import managers
from multiprocessing.managers import BaseManager, DictProxy
from typing import Any

from flask import Flask


def value() -> Flask:
    """`multiprocessing.Value`: an integer in memory that forked processes share, with a lock."""
    counter = multiprocessing.Value("i", 0)
    app = Flask(__name__)

    @app.route("/")
    def home():
        with counter.get_lock():
            counter.value += 1
            return str(counter.value)

    return app


def manager() -> Flask:
    """`multiprocessing.Manager`: a dict and a lock in a process that is started for them."""
    shared = multiprocessing.Manager()
    numbers, lock = shared.dict(hits=0), shared.Lock()
    app = Flask(__name__)

    @app.route("/")
    def home():
        with lock:
            numbers["hits"] += 1
            return str(numbers["hits"])

    app.extensions["manager"] = shared  # it ends with the last reference
    return app


def manager_without_lock() -> Flask:
    """The same dict, by those who take a Manager for safe in itself."""
    shared = multiprocessing.Manager()
    numbers = shared.dict(hits=0)
    app = Flask(__name__)

    @app.route("/")
    def home():
        numbers["hits"] += 1
        return str(numbers["hits"])

    app.extensions["manager"] = shared
    return app


numbers_by_address = {"hits": 0}
lock_by_address = multiprocessing.Lock()


def get_numbers():
    return numbers_by_address


def get_lock():
    return lock_by_address


def manager_by_address() -> Flask:
    """A manager that the first worker starts at an address, where the others find it.

    Workers that start at the same moment race for the address, and now and then the server does
    not come up. All is lost when the worker that has won is replaced.
    """
    BaseManager.register("get_numbers", get_numbers, DictProxy)
    BaseManager.register("get_lock", get_lock, managers.AcquirerProxy)  # type: ignore[attr-defined]
    shared: Any = BaseManager(
        (os.environ["MANAGER_HOST"], int(os.environ["MANAGER_PORT"])), b"secret"
    )
    try:
        shared.get_server()  # raises if the address is in use
        shared.start()
    except OSError:
        shared.connect()
    numbers, lock = shared.get_numbers(), shared.get_lock()
    app = Flask(__name__)

    @app.route("/")
    def home():
        with lock:
            numbers["hits"] += 1
            return str(numbers["hits"])

    app.extensions["manager"] = shared
    return app
