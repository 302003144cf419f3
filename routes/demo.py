"""``/demo``: three ways to count, for the page to race against each other.

A race has a name that the client makes up, and each way counts in it from 1. The first two are
here because they are wrong::

    request A  get 41 ─────────────── set 42, return 42
    request B       get 41 ── set 42, return 42

The store's counters are values like any other, under keys that begin with ``demo:``, and expire
after a minute. With ``DEMO=0`` there is none of it.
"""

from __future__ import annotations

import os

from flask import Blueprint, Response, request

from common import cache
from service.contract.operation import OF_A_WRITE, operation
from service.contract.replies import reply
from service.contract.schemas import Overlap, Race, Raced
from sharedstate import NotACounter, OutOfBounds

from .store import workers_and_threads

bp = Blueprint("demo", __name__, url_prefix="/demo")

SECONDS = 60
MAX_RACES = 100

# The global variable: one in each process.
_counts: dict[str, int] = {}

_counting = operation(
    body=Race, responses={200: Raced}, refuses=(*OF_A_WRITE, NotACounter, OutOfBounds)
)


@bp.get("")
@operation(responses={200: Overlap})
def index() -> Response:
    """Workers × threads, and whether requests overlap: without that no race can go wrong."""
    workers, threads = workers_and_threads()
    if workers is None or threads is None:
        environ = request.environ
        overlap = bool(environ.get("wsgi.multiprocess") or environ.get("wsgi.multithread"))
    else:
        overlap = workers * threads > 1
    return reply(Overlap(workers, threads, overlap))


@bp.post("/global-variable")
@_counting
def global_variable(body: Race) -> Response:
    """Count in a global variable, as it works on the development server."""
    race = body.race
    number = _counts.get(race, 0) + 1
    _counts[race] = number
    for old in list(_counts)[:-MAX_RACES]:
        _counts.pop(old, None)
    return _raced(number)


@bp.post("/get-then-set")
@_counting
def get_then_set(body: Race) -> Response:
    """Count in the store with a get and a set, as it is mostly written."""
    key = f"demo:{body.race}:get-then-set"
    number = cache.get(key, 0)
    if type(number) is not int:  # A client may have stored anything there.
        raise NotACounter(f"the key {key!r} holds something other than an integer")
    cache.set(key, number + 1, timeout=SECONDS)
    return _raced(number + 1)


@bp.post("/counter")
@_counting
def counter(body: Race) -> Response:
    """Count in the store with one increment, as ``/v1/counters`` does."""
    return _raced(cache.inc(f"demo:{body.race}:counter", timeout=SECONDS))


def _raced(number: int) -> Response:
    return reply(Raced(number, os.getpid()))
