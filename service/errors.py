"""Every error as a problem document (RFC 9457)."""

from __future__ import annotations

import logging
from http import HTTPStatus

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from sharedstate import errors

from .replies import reply

logger = logging.getLogger(__name__)

_RETRY_AFTER = {"Retry-After": "1"}

# What the library raises → status, title, and what follows "urn:sharedstate:" in the type.
PROBLEMS: dict[type[errors.SharedStateError], tuple[int, str, str]] = {
    errors.InvalidKey: (400, "The key is not allowed", "invalid-key"),
    errors.NotSerializable: (400, "The value cannot be stored", "not-serializable"),
    errors.ValueTooLarge: (413, "The value is too large", "value-too-large"),
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
    """Answer every error of the application with a problem document."""
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(errors.SharedStateError, _state_problem)
    app.register_error_handler(Exception, _unexpected_problem)


def problem(
    status: int,
    detail: str,
    *,
    title: str | None = None,
    kind: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem document.

    :param kind: what follows ``urn:sharedstate:`` in its type; without one the status says all.
    """
    body = {
        "type": f"urn:sharedstate:{kind}" if kind else "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return reply(body, status, {"Content-Type": "application/problem+json", **(headers or {})})


def _http_problem(error: HTTPException) -> Response:
    if error.code is None or error.code < 400:
        return error.get_response()  # type: ignore[return-value]  # a redirect
    headers = {
        name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")
    }
    return problem(error.code, error.description or "", title=error.name, headers=headers)


def _state_problem(error: errors.SharedStateError) -> Response:
    # A store may raise a class of its own below one of these.
    status, title, kind = next(PROBLEMS[cls] for cls in type(error).__mro__ if cls in PROBLEMS)
    if status != 503:
        return problem(status, _sentence(error), title=title, kind=kind)
    # What is wrong with the store is for the log: it names hosts and paths.
    logger.error("%s", error)
    unknown = getattr(error, "outcome_unknown", False)
    detail = (
        "The store did not answer: the change may or may not have been made."
        if unknown
        else "The store cannot be used now; nothing was changed."
    )
    return problem(status, detail, title=title, kind=kind, headers=_RETRY_AFTER)


def _unexpected_problem(error: Exception) -> Response:
    logger.exception("unexpected error", exc_info=error)
    return problem(500, "The service failed; its log has the reason.")


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."
