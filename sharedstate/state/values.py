"""Values: reading, storing and removing them, one or many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import NotSerializable
from ..keyspace import Item, Keyspace
from ..keyspace.arguments import Timeout
from ..stores.operations import Add, Exchange, Put, Remove, Touch
from .waiting import wait


class Values:
    """The operations of a state on values."""

    keyspace: Keyspace

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key.

        :param default: returned if the key is not there or has expired.
        :returns: the value, or ``default``; a stored ``None`` is a value.
        :raises NotSerializable: if the codec cannot read what is stored.
        """
        space = self.keyspace
        (raw,) = space.store.values((space.key(key),))
        try:
            return default if raw is None else space.codec.decode(raw)
        except NotSerializable as error:
            error.key = key
            raise

    def set(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value, whatever was there.

        :param timeout: seconds until it expires, or a ``timedelta``: 0.001 seconds to 100 years;
            0: never; ``None``: the default timeout.
        :returns: ``True``.
        :raises NotSerializable: if the codec cannot store the value.
        :raises ValueTooLarge: if its bytes are more than ``max_value_bytes``.
        :raises StoreFull: if there is no room; what was there stays.
        :raises ValueError: if the timeout is negative or too long; :exc:`TypeError` if it is none.
        """
        space = self.keyspace
        space.apply(key, Put(space.encode(value, key), space.seconds(timeout)))
        return True

    def put(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value like :meth:`set`, in one step with looking whether there was one.

        :param timeout: as for :meth:`set`, and so are the errors.
        :returns: whether the key is new; of many callers at once one is told so.
        """
        return self._exchange(key, value, timeout) is None

    def add(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value if there is none, in one step with its expiry.

        :param timeout: as for :meth:`set`, and so are the errors.
        :returns: whether it was stored; of many callers at once one succeeds.
        """
        space = self.keyspace
        added: bool
        added = space.apply(key, Add(space.encode(value, key), space.seconds(timeout)))
        return added

    def exchange(self, key: str, value: Any, timeout: Timeout = None, default: Any = None) -> Any:
        """Store a value like :meth:`set`, in one step with reading the one before.

        :param timeout: as for :meth:`set`, and so are the errors.
        :param default: returned if there was no value.
        :returns: the value that was there, or ``default``; no two callers get the same one.
        :raises NotSerializable: also if the codec cannot read that one; it is replaced then.
        """
        raw = self._exchange(key, value, timeout)
        return default if raw is None else self.keyspace.decode(raw, key)

    def _exchange(self, key: str, value: Any, timeout: Timeout) -> bytes | None:
        space = self.keyspace
        found: bytes | None
        found = space.apply(key, Exchange(space.encode(value, key), space.seconds(timeout)))
        return found

    def delete(self, key: str) -> bool:
        """Remove a key.

        :returns: whether it was there; of many callers at once one is told so.
        """
        removed: bool = self.keyspace.apply(key, Remove())
        return removed

    def has(self, key: str) -> bool:
        """Return whether a key is there.

        :returns: ``False`` also if it has expired.
        """
        space = self.keyspace
        return space.store.values((space.key(key),))[0] is not None

    def ttl(self, key: str) -> float | None:
        """Return how long the key will be there.

        :returns: seconds until it expires, 0 if it never does, ``None`` if it is not there.
        """
        space = self.keyspace
        (record,) = space.store.read((space.key(key),))
        return None if record is None else space.remaining(record)

    def touch(self, key: str, timeout: Timeout = None) -> bool:
        """Let a key expire ``timeout`` seconds from now; its value stays.

        :param timeout: as for :meth:`set`; 0 lets it stay for ever.
        :returns: whether the key is there; a missing one is not created.
        :raises ValueError: if the timeout is negative or too long; :exc:`TypeError` if it is none.
        """
        touched: bool = self.keyspace.apply(key, Touch(self.keyspace.seconds(timeout)))
        return touched

    def item(self, key: str) -> Item | None:
        """Return the value of a key with its remaining time, read at one moment.

        :returns: the :class:`Item`, or ``None`` if the key is not there.
        :raises NotSerializable: if the codec cannot read what is stored.
        """
        space = self.keyspace
        physical = space.key(key)
        (record,) = space.store.read((physical,))
        return space.item(physical, record)

    def wait(self, key: str, version: str | None, timeout: float = 20) -> Item | None:
        """Return what a key holds, once that is another version.

        The calling thread asks the store again and again, at first after 10 ms and at last every
        quarter of a second. A value that comes and goes in between is not seen.

        :param version: the :attr:`Item.version` that the caller has; ``None``: no key is there.
        :param timeout: how many seconds to wait; 0 asks once.
        :returns: the item as it is then, ``None`` if the key is not there. If the time is over it
            is the one with ``version``.
        :raises NotSerializable: if the codec cannot read what is stored.
        """
        return wait(self.keyspace, key, version, timeout)

    # Many keys.

    def get_many(self, *keys: str, default: Any = None) -> list[Any]:
        """Return the values of several keys.

        On stores that have transactions they are those of one moment.

        :param default: stands for the value of a key that is not there.
        :returns: a value for each key in their order.
        :raises NotSerializable: if the codec cannot read one of them; it names the key.
        """
        space = self.keyspace
        found = space.store.values([space.key(key) for key in keys]) if keys else []
        return [
            default if raw is None else space.decode(raw, key)
            for key, raw in zip(keys, found, strict=False)
        ]

    def get_dict(self, *keys: str) -> dict[str, Any]:
        """Return the values of several keys like :meth:`get_many`.

        :returns: the values by key, ``None`` for one that is not there.
        """
        return dict(zip(keys, self.get_many(*keys), strict=True))

    def set_many(self, mapping: Mapping[str, Any], timeout: Timeout = None) -> list[str]:
        """Store several values in one transaction, where the store has them.

        :param timeout: that of each, as for :meth:`set`.
        :returns: the keys.
        :raises SharedStateError: as for :meth:`set`. Nothing is stored then on a store that has
            transactions; on another one some of the values may be.
        """
        space = self.keyspace
        seconds = space.seconds(timeout)
        space.apply_all(
            [(key, Put(space.encode(value, key), seconds)) for key, value in mapping.items()],
            divisible=True,
        )
        return list(mapping)

    def delete_many(self, *keys: str) -> list[str]:
        """Remove several keys in one transaction, where the store has them.

        :returns: the keys that were there and were removed by this call.
        """
        removed = self.keyspace.apply_all([(key, Remove()) for key in keys], divisible=True)
        return [key for key, was_there in zip(keys, removed, strict=True) if was_there]
