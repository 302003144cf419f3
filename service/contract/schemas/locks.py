"""Locks."""

from __future__ import annotations

from msgspec import Struct

from .fields import Lease, Named, Request, Token


class Acquire(Request):
    """The lease of a lock to acquire."""

    lease: Lease = 30


class Renew(Request):
    """The token of a lock's holder, and the lease from now on."""

    token: Token
    lease: Lease = 30


class Release(Request):
    """The token of a lock's holder."""

    token: Token


class Held(Struct):
    """A lock that some client holds, for at most this many seconds."""

    name: Named
    expires_in: float


class Acquired(Held):
    """A lock that the client holds now; ``fence`` is greater than that of every holder before."""

    token: Token
    fence: int
