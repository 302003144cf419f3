"""Views that do what a request asks once, however often it comes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ParamSpec

from flask import Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Conflict, HTTPException, UnprocessableEntity

from ..errors import LockTimeout, SharedStateError

if TYPE_CHECKING:
    from ..state import State

P = ParamSpec("P")

_LATER = (408, 425, 429)  # They ask the client to repeat the request.


@dataclass(frozen=True)
class Idempotent:
    """Remembers the response to each ``Idempotency-Key``::

        first    lock ── no response ── runs the view ── stores its response ── free
        repeat   waits for the lock ·························· lock ── its response: replays it

    :param state: returns the state that holds the responses; asked at each request.
    """

    state: Callable[[], State]
    timeout: float
    per: Callable[[], object] | None
    wait: float
    lease: float
    required: bool

    def respond(self, run: Callable[[], Response]) -> Response:
        """The response of ``run``, or the one that it gave when this request came first."""
        given = request.headers.get("Idempotency-Key")
        if given is None and not self.required:
            return run()
        if not given:
            raise BadRequest("This needs an Idempotency-Key: a text that is new for each request.")
        principal = "" if self.per is None else self.per()
        key = _hash(repr((given, str(principal))).encode())
        asked = f"{request.method} {request.host} {request.full_path}\0".encode()
        asked_hash = _hash(asked + request.get_data())
        responses = self.state().namespace("idempotent")
        # It is read before the lock, so that a repeat costs one reading; and again with it.
        stored = responses.get(key)
        if stored is not None:
            return _replayed(stored, asked_hash)
        lock = responses.lock(key, self.lease, self.wait, renew=True)
        try:
            lock.acquire()
        except LockTimeout:
            raise Conflict("The first request with this Idempotency-Key is not done yet.") from None
        try:
            stored = responses.get(key)
            if stored is not None:
                return _replayed(stored, asked_hash)
            response = run()
            if response.status_code >= 500 or response.status_code in _LATER:
                return response
            new = _stored(response, asked_hash)
            # If this one's lease had ended, another one may have run it again, and been faster.
            while not responses.add(key, new, self.timeout):
                stored = responses.get(key)
                if stored is not None:
                    return _replayed(stored, asked_hash)
            return response
        finally:
            with suppress(SharedStateError):  # It ends by itself.
                lock.discard()

    def __call__(self, view: Callable[P, ResponseReturnValue]) -> Callable[P, Response]:
        """The view, run once for each key."""

        @functools.wraps(view)
        def respond(*args: P.args, **kwargs: P.kwargs) -> Response:
            run = current_app.ensure_sync(view)
            return self.respond(lambda: _response(lambda: run(*args, **kwargs)))

        return respond


def _response(run: Callable[[], ResponseReturnValue]) -> Response:
    """What a view returns, or refuses by :func:`flask.abort`, as a response."""
    try:
        return current_app.make_response(run())
    except HTTPException as error:
        if error.code is None or error.code >= 500:
            raise
        refused = current_app.handle_user_exception(error)
        if isinstance(refused, HTTPException):
            refused = refused.get_response()
        return current_app.make_response(refused)


def _stored(response: Response, asked_hash: str) -> dict[str, Any]:
    if response.direct_passthrough or response.is_streamed:
        raise TypeError("a response that is streamed cannot be stored: return the whole of it")
    # A cookie may be a login; it is for the one who asked first.
    headers = [[k, v] for k, v in response.headers.items() if k.lower() != "set-cookie"]
    return {
        "asked": asked_hash,
        "status": response.status,
        "headers": headers,
        "body": response.get_data().decode("latin-1"),  # So that any codec can store it.
    }


def _replayed(stored: dict[str, Any], asked_hash: str) -> Response:
    if stored["asked"] != asked_hash:
        raise UnprocessableEntity("This Idempotency-Key was used for another request.")
    body, status, headers = stored["body"].encode("latin-1"), stored["status"], stored["headers"]
    response = current_app.response_class(body, status, [(k, v) for k, v in headers])
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=24).hexdigest()
