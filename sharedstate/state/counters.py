"""Counters: exact sums, each number returned once."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import Self

from ..codec import Codec
from ..errors import StoreFull
from ..keyspace import ABOUT_A_KEY, Keyspace
from ..keyspace.arguments import Timeout, checked_count
from ..stores.operations import Increment, Once


class Counters:
    """The operations of a state on counters."""

    keyspace: Keyspace

    @abstractmethod
    def namespace(self, name: str, codec: Codec | None = None) -> Self:
        """A state of its own on the same store."""

    def inc(
        self,
        key: str,
        delta: int = 1,
        *,
        initial: int = 0,
        timeout: Timeout = None,
        minimum: int | None = None,
        maximum: int | None = None,
        once: str | None = None,
    ) -> int:
        """Add to a counter, atomically among all that share the store.

        :param delta: what is added; may be negative.
        :param initial: what a missing counter starts from, before ``delta`` is added.
        :param timeout: seconds until the counter expires, if this call creates it; 0: never;
            ``None``: the default timeout. That of a counter that is there is kept.
        :param minimum: the lowest that the new number may be. A counter is a signed 64-bit
            integer in any case.
        :param maximum: the highest that the new number may be.
        :param once: a token of at most 250 bytes. The first call with it applies the increment,
            and each repeat within 24 hours returns what the first one returned.
        :returns: the new number; no two callers get the same.
        :raises TypeError: if one of the numbers is not an ``int``, as 0.1: count in the smallest
            unit, such as cents, or use :meth:`update`.
        :raises OutOfBounds: if the new number would be out of bounds; the counter stays.
        :raises NotACounter: if the key holds something else; it stays.
        :raises TokenReused: if the token came before with another key or increment.
        :raises NotSupported: if the store cannot do ``once`` in one step with the increment.
        """
        space = self.keyspace
        increment = space.increment(delta, initial, timeout, minimum, maximum)
        if once is not None:
            return self._inc_once(key, increment, once)[0]
        number: int
        keys = (space.key(key),)
        try:  # As Keyspace.transact does it: one call more is a twentieth of an increment.
            number = space.store.transact(keys, increment)
        except StoreFull as error:
            number = space.transact_with_room(keys, increment, error)
        except ABOUT_A_KEY as error:
            error.key = key
            raise
        return number

    def dec(
        self,
        key: str,
        delta: int = 1,
        *,
        initial: int = 0,
        timeout: Timeout = None,
        minimum: int | None = None,
        maximum: int | None = None,
        once: str | None = None,
    ) -> int:
        """Subtract from a counter, atomically among all that share the store.

        :param delta: what is subtracted. The other parameters are those of :meth:`inc`.
        :returns: the new number; no two callers get the same.
        :raises SharedStateError: as for :meth:`inc`.
        """
        delta = -checked_count("delta", delta)
        increment = self.keyspace.increment(delta, initial, timeout, minimum, maximum)
        if once is not None:
            return self._inc_once(key, increment, once)[0]
        number: int = self.keyspace.apply(key, increment)
        return number

    def inc_once(
        self,
        key: str,
        token: str,
        delta: int = 1,
        *,
        initial: int = 0,
        timeout: Timeout = None,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> tuple[int, bool]:
        """Add to a counter like :meth:`inc` with ``once=token``.

        :param token: a text of at most 250 bytes. The other parameters are those of :meth:`inc`.
        :returns: the number, and whether this was a repeat, which has changed nothing.
        :raises SharedStateError: as for :meth:`inc`.
        """
        increment = self.keyspace.increment(delta, initial, timeout, minimum, maximum)
        return self._inc_once(key, increment, token)

    def _inc_once(self, key: str, increment: Increment, token: str) -> tuple[int, bool]:
        space = self.keyspace
        space.require("once", "increments that a token applies one time")
        keys = (self.namespace("once").keyspace.key(token), space.key(key))
        result: tuple[int, bool]
        result = space.transact(keys, Once(increment, _fingerprint(key, increment)), key)
        return result

    def inc_many(
        self,
        deltas: Mapping[str, int],
        *,
        initial: int = 0,
        timeout: Timeout = None,
        minimum: int | None = None,
        maximum: int | None = None,
    ) -> dict[str, int]:
        """Add to several counters in one step, all or none of them.

        :param deltas: what is added, by key. The other parameters are those of :meth:`inc`, for
            each of the counters.
        :returns: the new numbers by key.
        :raises OutOfBounds: if one of them would be out of bounds; none is changed.
        :raises NotACounter: if one of the keys holds something else; none is changed.
        :raises NotSupported: if the store has no transactions.
        """
        space = self.keyspace
        space.require("atomic_batch", "changes of several keys in one step")
        numbers = space.apply_all(
            (key, space.increment(delta, initial, timeout, minimum, maximum))
            for key, delta in deltas.items()
        )
        return dict(zip(deltas, numbers, strict=True))


def _fingerprint(key: str, increment: Increment) -> bytes:
    """What a token is for. It is kept in stores for a day: another form would refuse repeats."""
    i = increment
    arguments = [key, i.delta, i.initial, i.maximum, i.minimum, i.timeout]
    return hashlib.sha256(repr(arguments).encode()).hexdigest()[:32].encode()
