"""The application behind Granian: nothing waits for a client but an event loop.

A WSGI server such as Granian hands a request to a thread once its headers are there, and the thread
waits for the body. As many clients as there are threads, each with half a body, would stop the
service. Under RSGI, Granian's own interface, the loop waits for all bodies at once::

    client A   headers, half a body ······························· cut off after BODY_TIMEOUT
    client B       headers and body ── application ── response
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ..contract.errors import problem
from ..contract.replies import WAITED
from ..overrides import take_shortcut
from ..tracing import HEADER, new_id
from .front import FLASK, LATER, RESPONDED, Front, address
from .waiting import Waiters

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask
    from granian.rsgi import HTTPProtocol, Scope  # type: ignore[attr-defined]  # not re-exported

logger = logging.getLogger(__name__)


class HalfSent(Exception):
    """The body broke off."""


class Bridge:
    """An application of Flask as one of RSGI.

    Flask works on as many requests at a time as there are ``THREADS``. With one, it does so in the
    thread that the request comes in.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._limit: int = app.config["MAX_CONTENT_LENGTH"]
        self._seconds: float = app.config["BODY_TIMEOUT"]
        threads = app.config["THREADS"] or 1
        self._pool = ThreadPoolExecutor(threads)
        with app.app_context():
            self._front = Front(app, self._pool)
        self._waiters = Waiters(self._front.versions)
        self._one_at_a_time = Lock() if threads == 1 else None
        self._common = {
            "SCRIPT_NAME": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.errors": sys.stderr,
            "wsgi.input_terminated": True,
            "wsgi.multiprocess": app.config["WORKERS"] > 1,
            "wsgi.multithread": threads > 1,
            "wsgi.run_once": False,
            "wsgi.version": (1, 0),
        }

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a worker, before it serves."""
        gc.collect()
        gc.freeze()  # What was made until now stays; the collector need not look at it again.
        take_shortcut(self.take)
        # Those that wait would hold up the end. The loop hears of signals besides, by its own way.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._waiters.close))
        if started := self._app.config.get("STARTED_FILE"):
            Path(started).touch()

    def take(self, request: Any) -> bool:
        """Respond to a request of Granian's, in its thread, unless it has to wait for something."""
        scope, client = request.scope, request.proto

        def later(has_responded: bool) -> None:
            if has_responded:
                request.done()
            else:
                self._pool.submit(self._finish, request)

        if self._front(scope, client, b"", later) == FLASK:
            if has_body(scope) or "prefer" in scope.headers:
                return False
            if self._one_at_a_time is None:
                self._pool.submit(self._finish, request)
            else:
                self._finish(request)
        return True

    def _finish(self, request: Any) -> None:
        try:
            self.respond(request.scope, request.proto)
        except BaseException as error:  # noqa: BLE001  # Granian logs it and responds with 500
            request.err(error)
        else:
            request.done()

    async def __rsgi__(self, scope: Scope, client: HTTPProtocol) -> None:
        """Respond to a request once all of it is there."""
        body, waited = b"", ""
        if has_body(scope):
            try:
                async with asyncio.timeout(self._seconds):
                    body = await self._body(scope, client)
            except TimeoutError:
                return _refuse(client, 408, f"The body did not come within {self._seconds} s.")
            except HalfSent:
                return _refuse(client, 400, "The body broke off.")
        if "prefer" in scope.headers and self._waiters.has_room():
            awaited = self._front.awaited(scope)
            if awaited is not None:
                if not await self._waiters.wait(awaited, client):
                    return None
                waited = f"wait={awaited.seconds}"
        loop = asyncio.get_running_loop()
        responded: asyncio.Future[bool] = loop.create_future()

        def later(has_responded: bool) -> None:
            loop.call_soon_threadsafe(responded.set_result, has_responded)

        outcome = self._front(scope, client, body, later)
        if outcome == LATER:
            outcome = RESPONDED if await responded else FLASK
        if outcome == RESPONDED:
            return None
        if self._one_at_a_time is not None:
            self.respond(scope, client, body, waited)
        else:
            await loop.run_in_executor(self._pool, self._respond, scope, client, body, waited)
        return None

    def respond(
        self, scope: Scope, client: HTTPProtocol, body: bytes = b"", waited: str = ""
    ) -> None:
        """Let Flask respond to a whole request; with one thread, after the request before it.

        :param waited: how long it might wait, as in the header ``Preference-Applied``.
        """
        if self._one_at_a_time is None:
            self._respond(scope, client, body, waited)
        else:
            with self._one_at_a_time:
                self._respond(scope, client, body, waited)

    def _respond(self, scope: Scope, client: HTTPProtocol, body: bytes, waited: str) -> None:
        try:
            environ = {**_environ(scope), **self._common, "wsgi.input": BytesIO(body)}
            environ[WAITED] = waited
        except ValueError:
            return _refuse(client, 400, "The path is not UTF-8, or a header not ASCII.")
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            started[:] = int(status[:3]), headers

        parts = self._app(environ, start_response)  # type: ignore[arg-type]  # it returns nothing
        try:
            whole = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        status, headers = started
        client.response_bytes(status, headers, whole)

    async def _body(self, scope: Scope, client: HTTPProtocol) -> bytes:
        """The body, or as much of it as the application needs to see that it is too large."""
        length = scope.headers.get("content-length")
        if length is None:
            return await _unmeasured(client, self._limit)
        if int(length) > self._limit:
            return b""
        try:
            return await client()
        except Exception as error:  # Granian's own, which has no public name
            raise HalfSent from error


def has_body(scope: Scope) -> bool:
    """Whether there is a body to wait for."""
    headers = scope.headers
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


async def _unmeasured(client: HTTPProtocol, limit: int) -> bytes:
    """A body in chunks, until it is more than ``limit``.

    Granian has an empty chunk for the end, and another one before if the client broke off.
    """
    body, empty = bytearray(), 0
    async for chunk in client:
        body += chunk
        empty += not chunk
        if len(body) > limit:
            break
    if empty > 1:
        raise HalfSent
    return bytes(body)


class _Names(dict[str, str]):
    """How headers are called in an environment; those of other clients are not remembered."""

    def __missing__(self, name: str) -> str:
        found = f"HTTP_{name.upper().replace('-', '_')}"
        if len(self) < 100:
            self[name] = found
        return found


_names = _Names({"content-length": "CONTENT_LENGTH", "content-type": "CONTENT_TYPE"})


def _environ(scope: Scope) -> WSGIEnvironment:
    """What WSGI says of a request; :exc:`ValueError` if its path or a header is not text."""
    environ: WSGIEnvironment = {}
    names = scope.headers.keys()
    for name, value in scope.headers.items():
        if "_" in name:
            continue  # X_Forwarded_For would pass for X-Forwarded-For, which a proxy looks after.
        key = _names[name]
        if key in environ:
            value = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{value}"
        environ[key] = value
    # Granian leaves out what is not ASCII, and without it the request would be another one.
    if len(environ) != len(names) and len(environ) != sum("_" not in name for name in names):
        raise ValueError("a header is not ASCII")
    environ["REQUEST_METHOD"] = scope.method
    environ["PATH_INFO"] = scope.path.encode().decode("latin-1")
    # As the bytes of UTF-8; Granian itself refuses others.
    environ["QUERY_STRING"] = scope.query_string.encode().decode("latin-1")
    environ["wsgi.url_scheme"] = scope.scheme
    environ["SERVER_NAME"], environ["SERVER_PORT"] = address(scope.server)
    environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = address(scope.client)
    return environ


def _refuse(client: HTTPProtocol, status: int, detail: str) -> None:
    response = problem(status, detail, headers={"Connection": "close", HEADER: new_id()})
    client.response_bytes(status, response.headers.to_wsgi_list(), response.get_data())


def create(create_app: Callable[[], Flask]) -> Bridge:
    """Return what Granian serves, in a worker.

    :param create_app: makes the application.
    :raises SystemExit: if the application cannot be made; the log has the reason.
    """
    # Nothing is begun that would have to be finished, and the main process's handlers, which a fork
    # hands on, would let this one live.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        return Bridge(create_app())
    except Exception:
        logger.exception("a worker cannot start")
        sys.exit(1)
