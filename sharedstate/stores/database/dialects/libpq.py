"""A connection to the first of several PostgreSQL servers that lets its client write."""

from __future__ import annotations

import time
from collections.abc import Sequence
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from typing import Any

from psycopg import OperationalError, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Hosts:
    """The servers that a connection may lead to, of which the one that did last is tried first.

    libpq waits at each host for at least two seconds. Here the next one is tried when one has
    failed, or when its share of the time is over; it goes on meanwhile, as it may be the primary
    and slow::

        a: is silent ················ and slow
        b:              refuses
        c:              is the primary
    """

    def __init__(self) -> None:
        self._first = 0

    def connect(self, parameters: str, seconds: float) -> pq.abc.PGconn:
        """A connection to the first host that gives one.

        :raises OperationalError: if none does within ``seconds``; it says why not of each.
        """
        hosts = hosts_of(parameters)
        order = [*range(self._first, len(hosts)), *range(min(self._first, len(hosts)))]
        attempts: list[_Attempt] = []
        try:
            made = _first_made(hosts, order, attempts, seconds)
        except BaseException:
            for attempt in attempts:
                attempt.connection.finish()
            raise
        self._first = made.number
        for attempt in attempts:
            if attempt is not made:
                attempt.connection.finish()
        made.connection.nonblocking = 1
        return made.connection


class _Attempt:
    """A connection that is being made."""

    def __init__(self, number: int, host: dict[str, Any]) -> None:
        self.number = number
        self.connection = pq.PGconn.connect_start(make_conninfo("", **host).encode())
        self.failure: str | None = None
        self.event = EVENT_WRITE
        """What it waits for."""
        self.is_made = False
        self._check(self.connection.status == pq.ConnStatus.BAD)

    def go_on(self) -> None:
        """Take the next step, for which it has waited."""
        status = self.connection.connect_poll()
        self.event = EVENT_READ if status == pq.PollingStatus.READING else EVENT_WRITE
        self.is_made = status == pq.PollingStatus.OK
        self._check(status == pq.PollingStatus.FAILED)

    def silent_for(self, seconds: float) -> str:
        """What to say of a host that does not respond."""
        host, port = self.connection.host.decode(), self.connection.port.decode()
        return f"{host}:{port} did not respond within {seconds:.2g} seconds"

    def _check(self, has_failed: bool) -> None:
        if has_failed:
            self.failure = self.connection.error_message.decode(errors="replace")
            self.connection.finish()


def _first_made(
    hosts: Sequence[dict[str, Any]], order: list[int], attempts: list[_Attempt], seconds: float
) -> _Attempt:
    began = time.monotonic()
    for count, number in enumerate(order, 1):
        attempts.append(_Attempt(number, hosts[number]))
        until = began + seconds * count / len(order)
        if made := _made(attempts, until, is_last=count == len(order)):
            return made
    texts = [attempt.failure or attempt.silent_for(seconds) for attempt in attempts]
    if len(texts) > 1:
        texts = [text.strip().partition("\n")[0] for text in texts]
    raise OperationalError("; ".join(texts))


def _made(attempts: list[_Attempt], until: float, *, is_last: bool) -> _Attempt | None:
    """The attempt that succeeds first, or ``None`` when it is time for another one."""
    while waiting := [attempt for attempt in attempts if attempt.failure is None]:
        if attempts[-1].failure is not None and not is_last:
            return None
        if not _wait(waiting, until - time.monotonic()):
            return None
        for attempt in waiting:
            if attempt.is_made:
                return attempt
    return None


def _wait(attempts: Sequence[_Attempt], seconds: float) -> bool:
    """Let those go on that can; returns whether one could."""
    with DefaultSelector() as selector:
        for attempt in attempts:
            selector.register(attempt.connection.socket, attempt.event, attempt)
        ready = selector.select(max(seconds, 0))
    for key, _ in ready:
        key.data.go_on()
    return bool(ready)


def hosts_of(parameters: str) -> list[dict[str, Any]]:
    """The parameters for each of the hosts that they name."""
    common = conninfo_to_dict(parameters)
    lists = {
        name: str(common.pop(name)).split(",")
        for name in ("host", "hostaddr", "port")
        if common.get(name)
    }
    number = max(map(len, lists.values()), default=1)
    return [
        # One port may be that of all.
        common
        | {name: each[i] for name, each in lists.items() if i < len(each)}
        | {name: each[0] for name, each in lists.items() if len(each) == 1}
        for i in range(number)
    ]
