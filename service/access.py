"""Who may do what: tokens, addresses, and browsers that act for another site."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from flask import Flask, request
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.routing import Rule

from sharedstate import ConfigurationError

from .settings import TOKENS

_OWN_NAMES = ("localhost", "127.0.0.1")

READS = frozenset({"GET", "HEAD", "OPTIONS"})

_PUBLIC = frozenset({"docs", "health", "pages"})
"""The blueprints that need no token; they show no state and change none."""


def init_app(app: Flask) -> None:
    """Refuse the requests that are not allowed, before their views."""
    _check_tokens(app)
    if hosts := app.config["TRUSTED_HOSTS"]:
        # Besides the names that this machine has for itself.
        named = [hosts] if isinstance(hosts, str) else hosts
        app.config["TRUSTED_HOSTS"] = [*named, *_OWN_NAMES]
    may, needs_token = guard(app), has_tokens(app)

    @app.before_request
    def let_in() -> None:
        may(request.environ, needs_token and _is_public(request.url_rule))


def guard(app: Flask) -> Callable[[Mapping[str, Any], bool], None]:
    """Return what refuses the requests that are not allowed.

    What is the same for every request is looked at once, here.

    :returns: a function of a request's WSGI environment, and of whether its route needs no token.
        It raises :exc:`Forbidden` or :exc:`Unauthorized`.
    """
    needs_token = has_tokens(app)
    near_only = not (needs_token or app.config["INSECURE"])
    is_named = bool(app.config["TRUSTED_HOSTS"])
    tokens = [app.config[name] for name in TOKENS]

    def refuse(environ: Mapping[str, Any], is_public: bool) -> None:
        if environ["REQUEST_METHOD"] not in READS:
            _refuse_other_sites(environ)
        if near_only:
            _refuse_other_machines(environ, is_named)
        if needs_token and not is_public:
            _ask_for_token(environ, *tokens)

    return refuse


def has_tokens(app: Flask) -> bool:
    """Whether clients need a token."""
    return any(app.config[name] for name in TOKENS)


def is_public(endpoint: str) -> bool:
    """Whether a route needs no token."""
    blueprint, _, _ = endpoint.rpartition(".")
    return blueprint in _PUBLIC or endpoint == "static"


def _is_public(rule: Rule | None) -> bool:
    return rule is not None and is_public(rule.endpoint)


def _check_tokens(app: Flask) -> None:
    tokens = [app.config[name] for name in TOKENS]
    for name, token in zip(TOKENS, tokens, strict=True):
        if token is not None and not _is_possible_token(token):
            raise ConfigurationError(
                f"{name} must be text of printable ASCII characters, and not empty; one that is "
                f"JSON, such as a number, has to be quoted: FLASK_{name}='\"12345\"'"
            )
    if tokens[0] is not None and tokens[0] == tokens[1]:
        raise ConfigurationError(
            f"{' and '.join(TOKENS)} are equal, so that all who may read could change everything"
        )
    if app.config["PROXIES"] and not (has_tokens(app) or app.config["INSECURE"]):
        raise ConfigurationError(
            "PROXIES needs an API_TOKEN: without one only this machine is served, and "
            "X-Forwarded-For says whatever a client wants. INSECURE serves everybody"
        )


def _is_possible_token(token: Any) -> bool:
    """Whether a client can send it: the space around a header's value does not come with it."""
    return (
        isinstance(token, str)
        and token.isascii()
        and token.isprintable()
        and token == token.strip() != ""
    )


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Whether a name or address is this very machine's."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _refuse_other_sites(environ: Mapping[str, Any]) -> None:
    """Refuse a change that a browser asks for on a page of another site.

    As Go's ``http.CrossOriginProtection`` does: ``Sec-Fetch-Site`` decides, and ``Origin`` for
    browsers that do not send it. Other clients send neither.
    """
    site, origin = environ.get("HTTP_SEC_FETCH_SITE"), environ.get("HTTP_ORIGIN")
    if site is not None:
        is_own = site in ("same-origin", "none")
    else:
        is_own = origin is None or origin.partition("://")[2] == environ.get("HTTP_HOST")
    if not is_own:
        raise Forbidden("The page of another site must not change the state.")


def _refuse_other_machines(environ: Mapping[str, Any], is_named: bool) -> None:
    """Refuse other machines, and names that are not those of this one: there is no token.

    The name is looked at because a page of any site can have its own name point to this machine
    (DNS rebinding), and is then no other site to a browser.

    :param is_named: whether TRUSTED_HOSTS says by which names.
    """
    client, host = environ.get("REMOTE_ADDR"), environ.get("HTTP_HOST", "localhost")
    if (not client or is_loopback(client)) and (is_named or _is_loopback_host(host)):
        return
    raise Forbidden(
        "Without an API_TOKEN only this machine is served. Set API_TOKEN; or TRUSTED_HOSTS for "
        "another name of this machine; or INSECURE, to serve everybody that can connect."
    )


@lru_cache(maxsize=64)
def _is_loopback_host(header: str) -> bool:
    return is_loopback(re.sub(r":\d+$", "", header))


def _ask_for_token(environ: Mapping[str, Any], token: str | None, reading: str | None) -> None:
    """Refuse what shows or changes state without a token; a change needs the one for everything."""
    kind, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    given = given.strip() if kind.lower() == "bearer" else ""
    if _is_token(given, token):
        return
    if not _is_token(given, reading):
        raise TokenNeeded(given)
    if environ["REQUEST_METHOD"] not in READS:
        raise Forbidden("This token is for reading; a change needs the API_TOKEN.")


def _is_token(given: str, token: str | None) -> bool:
    """Whether it is the token, in a time that does not tell how much of it is right."""
    return bool(token) and hmac.compare_digest(given.encode("latin-1"), str(token).encode())


class TokenNeeded(Unauthorized):
    """No token came with the request, or one that is not valid (RFC 6750, section 3)."""

    description = "Send a token, as in the header Authorization: Bearer <API_TOKEN>."

    def __init__(self, given: str) -> None:
        super().__init__()
        self._error = ', error="invalid_token"' if given else ""

    def get_headers(self, *arguments: Any) -> list[tuple[str, str]]:
        challenge = f'Bearer realm="sharedstate"{self._error}'
        return [*super().get_headers(*arguments), ("WWW-Authenticate", challenge)]
