"""What belongs to one request: its id, when it began, and that it is counted and logged."""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Callable
from itertools import count
from time import perf_counter

from flask import Request, Response

from .overrides import LeanFlask, current_globals, current_request

access_log = logging.getLogger("service.access")

HEADER = "X-Request-ID"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

_is_sane = re.compile("[A-Za-z0-9._-]{1,64}").fullmatch


class TracedFlask(LeanFlask):
    """Flask that gives every request an id, counts it with its response, and may log it.

    Meanwhile ``g`` has its ``request_id`` and when it ``started``.
    """

    def around(self, dispatch: Callable[[], Response]) -> Response:
        request, own = current_request(), vars(current_globals())
        asked = request.environ.get("HTTP_X_REQUEST_ID")
        own["request_id"] = name = asked if asked and _is_sane(asked) else new_id()
        own["started"] = started = perf_counter()
        status = 500
        try:
            try:
                response = dispatch()
            except Exception as error:  # noqa: BLE001  # as Flask does it, one step further out
                response = self.handle_exception(error)
            response.headers.add(HEADER, name)
            status = response.status_code
            return response
        finally:
            rule, seconds = request.url_rule, perf_counter() - started
            count_request = self.extensions["metrics"].request
            if rule is None:
                count_request(_known(request.method), "none", status, seconds)
            else:
                count_request(request.method, rule.rule, status, seconds)
            if self.config["ACCESS_LOG"]:
                _log(request, status, seconds)
            # An outer application context, as tests make it, must not keep them.
            del own["request_id"], own["started"]


def _known(method: str) -> str:
    """The method, or one name for all that clients may make up."""
    return method if method in METHODS else "other"


def _log(request: Request, status: int, seconds: float) -> None:
    # Without the query, which may hold a lock's token.
    about = {
        "client": _cut(request.remote_addr or "-", 64),
        "method": _cut(request.method, 16),
        "path": _cut(request.path, 1000),
        "status": status,
        "seconds": round(seconds, 6),
    }
    access_log.info("%(client)s %(method)s %(path)s %(status)s %(seconds)s s", about, extra=about)


def _cut(text: str, length: int) -> str:
    """What a client has sent, but for what makes a line too long and its work too dear."""
    return text if len(text) <= length else f"{text[:length]}..."


class _Ids:
    """Where ids come from: a random prefix for the process, then 1, 2, 3, …"""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Take another prefix: a child after a fork must not go on with its parent's."""
        # Iterators of C, so that no two threads get the same one.
        self.new = map(f"{secrets.token_hex(6)}-%d".__mod__, count(1)).__next__


_ids = _Ids()


def new_id() -> str:
    """An id that no other request has."""
    return _ids.new()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.begin_anew)
