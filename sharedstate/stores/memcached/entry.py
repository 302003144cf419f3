"""One key on its memcached server, and how each operation is done to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar

from ...errors import Overloaded, SharedStateError, ValueTooLarge
from ..base import Clock
from ..operations import (
    COUNTER_MAX,
    COUNTER_MIN,
    Add,
    Increment,
    Operation,
    Put,
    Record,
    Records,
    expiry,
)
from ..support.pauses import pauses
from .item import SAFE_DELTA, SAFE_NUMBER, from_text, lifetime, signed, to_text, unsigned
from .server import Connection, Item, Refused, Server


class Entry:
    """What a server holds under a name.

    :param patience: seconds to go on when others are always faster.
    """

    __slots__ = ("_clock", "_name", "_patience", "_server")

    def __init__(self, server: Server, name: bytes, clock: Clock, patience: float) -> None:
        self._server = server
        self._name = name
        self._clock = clock
        self._patience = patience

    def do(self, operation: Operation) -> Any:
        """Do the operation in one step, with memcached's own command where there is one."""
        return getattr(self, self._commands.get(type(operation), "_exchange"))(operation)

    def read(self) -> Record | None:
        """The record, if it is live."""
        return live(self._look(), self._clock())

    def _put(self, put: Put) -> None:
        # As `set` would, but that removes what it cannot replace when the server is full.
        for _ in attempts(self._patience):
            now = self._clock()
            record = put.value, expiry(put.timeout, now)
            for verb in (b"replace", b"add"):
                if self._store(verb, record, now):
                    return
        raise _outrun()

    def _add(self, add: Add) -> bool:
        now = self._clock()
        if self._store(b"add", (add.value, expiry(add.timeout, now)), now):
            return True
        # What is there may have ended, and not be collected yet.
        added: bool = self._exchange(add)
        return added

    def _increment(self, increment: Increment) -> int:
        if _is_plain(increment):
            request = b"incr %s %d\r\n" % (self._name, unsigned(increment.delta))
            digits = self._server.ask(request, Connection.number, writes=True)
            if digits is not None:
                return self._kept_safe(signed(digits))
        counted: int = self._exchange(increment)
        return counted

    def _kept_safe(self, number: int) -> int:
        """The number that memcached counted, written otherwise if it comes near the end."""
        if not -SAFE_NUMBER < number < SAFE_NUMBER:
            with suppress(SharedStateError):  # The next one will.
                self._exchange(_Rewrite())
        return number

    def _exchange(self, operation: Operation) -> Any:
        """Do the operation here, and write what it made if nobody else wrote meanwhile."""
        for _ in attempts(self._patience):
            item = self._look()
            now = self._clock()
            record = live(item, now)
            (after,), result = operation((record,), now)
            if after is record or self._replace(item, after, now):
                return result
        raise _outrun()

    _commands: ClassVar[dict[type[Operation], str]] = {
        Put: "_put",
        Add: "_add",
        Increment: "_increment",
    }

    def _look(self) -> Item | None:
        return self._server.ask(b"mg %s v c\r\n" % self._name, Connection.item)

    def _replace(self, item: Item | None, record: Record | None, now: float) -> bool:
        """Whether ``item`` was what is there still, and is replaced."""
        if item is None:
            return record is None or self._store(b"add", record, now)
        if record is None:
            request = b"md %s C%s\r\n" % (self._name, item.version)
            return self._server.ask(request, Connection.is_removed, writes=True)
        return self._store(b"cas", record, now, b" " + item.version)

    def _store(self, verb: bytes, record: Record, now: float, version: bytes = b"") -> bool:
        text = to_text(record)
        exptime = lifetime(record[1], now)
        head = b"%s %s 0 %d %d%s" % (verb, self._name, exptime, len(text), version)
        request = b"%s\r\n%s\r\n" % (head, text)
        try:
            return self._server.ask(request, Connection.is_stored, writes=True)
        except Refused as error:
            if b"too large" not in error.line:
                raise
            limit = self._server.ask(
                b"stats settings\r\n", lambda reply: reply.setting(b"item_size_max")
            )
            raise ValueTooLarge(
                len(record[0]), int(limit or 0), "memcached's item size (its option -I)"
            ) from error


class _Rewrite(Operation):
    """Writes a record as it is once more."""

    __slots__ = ()

    def __call__(self, records: Records, now: float) -> tuple[Records, None]:
        (old,) = records
        return (old and (old[0], old[1]),), None


def live(item: Item | None, now: float) -> Record | None:
    """The record of an item, unless it has ended."""
    record = item and from_text(item.text)
    return record if record is not None and record[1] > now else None


def attempts(patience: float) -> Iterator[None]:
    """Goes on, after random pauses that grow, for so many seconds."""
    deadline = time.monotonic() + patience
    for pause in pauses():
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(pause)


def _outrun() -> Overloaded:
    return Overloaded("others are always faster to change this key; nothing was changed")


def _is_plain(increment: Increment) -> bool:
    """Whether ``incr`` alone does what is asked, on a counter that stays."""
    return (
        not increment.timeout
        and -SAFE_DELTA <= increment.delta <= SAFE_DELTA
        and increment.minimum == COUNTER_MIN
        and increment.maximum == COUNTER_MAX
    )
