"""Changes: a value is read, changed by the caller's code, and stored unless another one came."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self, TypeVar

from ..codec import TEXTS, Codec
from ..keyspace import Item, Keyspace
from ..keyspace.arguments import ABSENT, Absent, Timeout
from ..locks.contention import Contention
from .compute import get_or_refresh, get_or_set

R = TypeVar("R")


class Changes:
    """The operations of a state that run the caller's code; nothing is locked meanwhile."""

    keyspace: Keyspace
    _contention: Contention | None

    @abstractmethod
    def namespace(self, name: str, codec: Codec | None = None) -> Self:
        """A state of its own on the same store."""

    def update(
        self,
        key: str,
        change: Callable[[Any], R],
        *,
        default: Any = None,
        allow_none: bool = False,
    ) -> R:
        """Replace the value by ``change(value)``, atomically among all that share the store.

        :param change: returns the new value. It may run more than once, when others write at the
            same time, and only the last run counts; it may take its time. One that has lost to
            others twice takes its place in a queue. If it raises, nothing changes.
        :param default: ``change`` is given a copy of it if there is no value.
        :param allow_none: whether ``change`` may replace another value by ``None``.
        :returns: the new value; the expiry is kept.
        :raises TypeError: if ``change`` returns ``None`` for a value, as one that has no
            ``return`` does; the value stays.
        :raises Deadlock: if ``change`` changes the same key each time, so that this cannot end.
        """
        space = self.keyspace
        physical = space.key(key)

        def attempt() -> tuple[bool, R]:
            (found,) = space.store.values((physical,))
            present = copy.deepcopy(default) if found is None else space.decode(found, key)
            value = change(present)
            if value is None and not (allow_none or present is None or present is ABSENT):
                raise _no_return(key, present)
            new = space.encode_or_absent(value, key)
            # What is there already need not be written: it was there when it was read.
            return new == found or space.swap_raw(key, found, new)[0], value

        return self._contended().settle(key, attempt)

    def revise(
        self,
        key: str,
        change: Callable[[Item | None], R],
        *,
        timeout: Timeout | Absent = ABSENT,
    ) -> R:
        """Replace the value like :meth:`update`, with a ``change`` that is given the whole item.

        :param change: is given the item, or ``None``; returns the new value, or :data:`ABSENT` to
            remove the key. ``None`` is a value here like any other.
        :param timeout: as for :meth:`set`; when left out, the expiry of the item is kept.
        :returns: what ``change`` returned.
        :raises NotSerializable: if the codec cannot read the value, or cannot store the new one.
        :raises Deadlock: as for :meth:`update`.
        """
        space = self.keyspace
        physical = space.key(key)

        def attempt() -> tuple[bool, R]:
            (record,) = space.store.read((physical,))
            value = change(space.item(physical, record))
            return space.swap(key, record and record[0], value, timeout)[0], value

        return self._contended().settle(key, attempt)

    def compare_and_set(
        self, key: str, expected: Any, value: Any, *, timeout: Timeout | Absent = ABSENT
    ) -> bool:
        """Replace the value if it equals ``expected``, atomically among all that share the store.

        :param expected: compared by ``==`` with what is there; :data:`ABSENT` to set only if there
            is no value.
        :param value: the new one; :data:`ABSENT` to remove the key.
        :param timeout: as for :meth:`set`; when left out, the expiry of the value is kept.
        :returns: whether it was replaced.
        :raises NotSerializable: if the codec cannot store one of the two, or read what is there.
        """
        space = self.keyspace
        found = space.encode_or_absent(expected, key)
        while True:
            swapped, present = space.swap(key, found, value, timeout)
            if swapped:
                return True
            if present is None or expected is ABSENT or space.decode(present, key) != expected:
                return False
            found = present  # Equal values need not have equal bytes.

    def get_or_set(
        self,
        key: str,
        make: Callable[[], R],
        timeout: Timeout = None,
        *,
        lease: float = 30,
        stale: float | timedelta = 0,
    ) -> R:
        """Return the value; if there is none, one caller computes it and the others wait.

        :param make: computes the value. If it raises, nothing is stored and another caller
            computes.
        :param timeout: until a computed value expires, as for :meth:`set`.
        :param lease: how many seconds ``make`` may take, from 0.01 to a day. If it takes longer, or
            its process dies, another caller computes as well, and the first one to finish sets the
            value for all. The others wait until there is a value.
        :param stale: for how many seconds after ``timeout`` the value is kept, or a ``timedelta``.
            In that time the first caller computes it anew, and the others get the old one, as from
            :meth:`get`. If ``make`` raises then, its caller gets the error, and the next one
            computes. A value that was set in another way, with an expiry, is stale in so many of
            its last seconds too.
        :returns: the value, the same for all that share the store.
        :raises Deadlock: at once, if ``make`` itself asks for the value of this key.
        :raises ValueError: if the lease, ``timeout`` or ``stale`` is out of its bounds.
        """
        claims = self.namespace("compute", TEXTS).keyspace
        if stale:
            return get_or_refresh(self.keyspace, claims, key, make, timeout, lease, stale)
        return get_or_set(self.keyspace, claims, key, make, timeout, lease)

    def _contended(self) -> Contention:
        if self._contention is None:
            self._contention = Contention(
                self.keyspace, self.namespace("contention", TEXTS).keyspace
            )
        return self._contention


def _no_return(key: str, present: object) -> TypeError:
    return TypeError(
        f"change() returned None for the key {key!r}, which holds a {type(present).__name__}: it "
        "probably changes the value in place and forgets to return it. Return the new value; to "
        "store None, pass allow_none=True"
    )
