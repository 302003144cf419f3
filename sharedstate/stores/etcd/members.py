"""The members of an etcd cluster, asked over HTTP one after the other until one replies."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...errors import SharedStateError, StoreUnavailable
from ..support.addresses import Address, shown
from .connections import Connections, tls_context
from .errors import Again, LeaseGone, NotReached, TokenExpired, explained
from .messages import Message

_LONGEST_PAUSE = 0.05


class Login(NamedTuple):
    """A user of etcd's."""

    user: str
    password: str


class Reply(NamedTuple):
    """What a member replied."""

    message: Message
    was_resent: bool
    """Whether the same had been sent before, to a member of which nothing was heard."""


class Members:
    """Those that are asked.

    :param timeout: how long to wait for all of them together, in seconds.
    :param options: for TLS, see :func:`tls_context`.
    """

    def __init__(
        self,
        addresses: Iterable[Address],
        timeout: float,
        *,
        tls: bool = False,
        login: Login | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._addresses = list(addresses)
        self._context = tls_context(options or {}) if tls else None
        self._login = login
        count = len(self._addresses)
        self._patience = timeout if count == 1 else timeout / (count + 1)
        self.reset()
        # Each process begins with another one.
        self._first = random.randrange(count)

    def reset(self) -> None:
        """Forget all connections, without closing them."""
        self._all = [Connections(address, self._context) for address in self._addresses]
        self._token = ""

    def close(self) -> None:
        """Close all connections; those in use are closed after it."""
        closed = self._all
        self.reset()
        for connections in closed:
            connections.close()

    def ask(self, path: str, message: Message, deadline: float) -> Reply:
        """The reply to a message that may be sent any number of times, with the effect of one.

        :param deadline: when to give up, by :func:`time.monotonic`.
        :raises StoreUnavailable: its ``outcome_unknown`` is true if a member may have done it.
        """
        body = json.dumps(message, separators=(",", ":")).encode()
        lost = False
        unreached = 0
        renewed = False
        pause = 0.002
        while True:
            first = self._first
            try:
                return Reply(self._ask_one(first, path, body, deadline), lost)
            except TokenExpired as error:
                if renewed:
                    raise StoreUnavailable(
                        f"{self._where()}: {error}", outcome_unknown=lost
                    ) from error
                self._token, renewed = "", True
                continue
            except Again as error:
                lost = lost or error.may_be_applied
                unreached = unreached + 1 if isinstance(error, NotReached) else 0
                self._first = (first + 1) % len(self._all)
                if unreached == len(self._all) or time.monotonic() + pause > deadline:
                    raise StoreUnavailable(
                        f"{self._where()} is not available: {error}", outcome_unknown=lost
                    ) from error
            except LeaseGone:  # So it is for what was sent before.
                raise
            except SharedStateError as error:
                if lost:
                    raise StoreUnavailable(str(error), outcome_unknown=True) from error
                raise
            if not unreached:
                time.sleep(random.random() * pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _ask_one(self, number: int, path: str, body: bytes, deadline: float) -> Message:
        headers = {"Content-Type": "application/json"}
        if self._login is not None:
            headers["Authorization"] = self._token or self._authenticate(number, deadline)
        return self._post(number, path, body, headers, deadline)

    def _authenticate(self, number: int, deadline: float) -> str:
        assert self._login is not None
        user, password = self._login
        body = json.dumps({"name": user, "password": password}).encode()
        try:
            reply = self._post(number, "auth/authenticate", body, {}, deadline)
        except Again as error:
            raise Again(str(error), may_be_applied=False) from error
        self._token = str(reply["token"])
        return self._token

    def _post(
        self, number: int, path: str, body: bytes, headers: dict[str, str], deadline: float
    ) -> Message:
        where = shown([self._addresses[number]])
        left = deadline - time.monotonic()
        if left <= 0:
            raise Again(f"{where} did not respond in time", may_be_applied=False)
        status, raw = self._all[number].post(
            f"/v3/{path}", body, headers, min(left, self._patience)
        )
        if status != 200:
            raise explained(raw, status, where)
        try:
            reply: Message = json.loads(raw)
        except ValueError:
            raise Again(f"{where} responded with no JSON", may_be_applied=True) from None
        return reply

    def _where(self) -> str:
        return f"etcd at {shown(self._addresses)}"
