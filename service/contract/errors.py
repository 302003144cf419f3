"""Every error as a problem document (RFC 9457)."""

from __future__ import annotations

import logging
from http import HTTPStatus

from flask import Flask, Response, request
from msgspec import UNSET
from werkzeug.exceptions import HTTPException

from sharedstate import errors

from .bodies import MERGE_PATCH
from .replies import PlainResponse, refused
from .schemas import Problem

logger = logging.getLogger(__name__)

_RETRY_AFTER = ("Retry-After", "1")
_OUTCOME_UNKNOWN = "The store did not respond: the change may or may not have been made."
_NOTHING_CHANGED = "The store cannot be used now; nothing was changed."
_FAILED = HTTPStatus(500).phrase
_LOGGED = "The service failed; its log has the reason."
_NO_ROOM = "The store has no room for the write; nothing was changed, and nothing is lost."

# What the library raises → status, title, and what follows "urn:sharedstate:" in the type.
PROBLEMS: dict[type[errors.SharedStateError], tuple[int, str, str]] = {
    errors.InvalidKey: (400, "The key is not allowed", "invalid-key"),
    errors.NotSerializable: (400, "The value cannot be stored or read", "not-serializable"),
    errors.ValueTooLarge: (413, "The value is too large", "value-too-large"),
    errors.ResultTooLarge: (413, "The batch reads too much", "result-too-large"),
    errors.NotACounter: (409, "The key does not hold a counter", "not-a-counter"),
    errors.OutOfBounds: (409, "The counter would leave its bounds", "out-of-bounds"),
    errors.TokenReused: (422, "The token was used for something else", "token-reused"),
    errors.LockTimeout: (409, "The lock is held by others", "lock-timeout"),
    errors.LockLost: (409, "The lock is not held any more", "lock-lost"),
    errors.NotSupported: (501, "The store cannot do this", "not-supported"),
    errors.StoreUnavailable: (503, "The store is not available", "store-unavailable"),
    errors.ConfigurationError: (503, "The store is not configured", "configuration-error"),
    errors.StoreFull: (507, "The store is full", "store-full"),
}


def init_app(app: Flask) -> None:
    """Return a problem document for every error of the application."""
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(errors.SharedStateError, _failure)
    app.register_error_handler(Exception, _failure)


def problem(
    status: int,
    detail: str,
    *,
    title: str | None = None,
    kind: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """Return a problem document.

    :param status: of the response, too.
    :param detail: a sentence for people.
    :param title: the same for all problems of a kind; without one, the phrase of the status.
    :param kind: what follows ``urn:sharedstate:`` in its type; without one the status says all.
    """
    kind = f"urn:sharedstate:{kind}" if kind else "about:blank"
    document = Problem(kind, title or HTTPStatus(status).phrase, status, detail)
    return refused(document, *(headers or {}).items()).response()


def problem_of(error: errors.SharedStateError) -> Problem:
    """Return what a problem document says of an error of the library's, and log a store's."""
    # A store may raise a class of its own below one of these.
    status, title, kind = next(PROBLEMS[cls] for cls in type(error).__mro__ if cls in PROBLEMS)
    detail = _sentence(error)
    if status in (503, 507):
        # What is wrong with the store names hosts and paths, which are for the log alone.
        logger.error("%s", error)
        detail = _shown_of_the_store(error)
    step = UNSET if error.step is None else error.step
    return Problem(f"urn:sharedstate:{kind}", title, status, detail, step)


def _shown_of_the_store(error: errors.SharedStateError) -> str:
    if isinstance(error, errors.StoreFull):
        return _NO_ROOM
    return _OUTCOME_UNKNOWN if getattr(error, "outcome_unknown", False) else _NOTHING_CHANGED


def _http_problem(error: HTTPException) -> Response:
    if error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]  # a redirect
    headers = {
        name: value
        for name, value in error.get_headers()
        if name in ("Allow", "Retry-After", "WWW-Authenticate")
    }
    if error.code == 415 and request.method == "PATCH":
        headers["Accept-Patch"] = MERGE_PATCH
    return problem(error.code, error.description or "", title=error.name, headers=headers)


def failure(error: BaseException) -> PlainResponse:
    """Return the response to a request that ends in an error of the library's, or in any other."""
    if not isinstance(error, errors.SharedStateError):
        logger.error("unexpected error", exc_info=error)
        return refused(Problem("about:blank", _FAILED, 500, _LOGGED))
    problem = problem_of(error)
    return refused(problem, *[_RETRY_AFTER] * (problem.status == 503))


def _failure(error: Exception) -> Response:
    return failure(error).response()


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
