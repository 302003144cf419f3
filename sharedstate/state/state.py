"""The contract: every operation on shared state, on any store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Generic, Self, TypeVar

from ..codec import TEXTS, Codec, PickleCodec, codec_from
from ..keyspace import MAX_VALUE_BYTES, Item, Keyspace, version
from ..keyspace.arguments import checked_namespace
from ..locks.contention import Contention
from ..locks.lock import Lock
from ..settings import Settings, checked
from ..stores.base import Store
from ..stores.registry import open_store
from . import listing
from .batch import Batch
from .bounded import Bounded
from .counters import Counters
from .values import Values

T = TypeVar("T")

_MAX_NAMESPACES = 64


class _OfKeyspace(Generic[T]):
    """An attribute of a state's keyspace; to set it gives the state another keyspace."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type[State], name: str) -> None:
        self._name = name

    def __get__(self, state: State | None, owner: type[State]) -> T:
        value: T = self if state is None else getattr(state.keyspace, self._name)  # type: ignore[assignment]  # as documentation shows it
        return value

    def __set__(self, state: State, value: T) -> None:
        changes: dict[str, Any] = {self._name: value}
        state._use(replace(state.keyspace, **changes))


class State(Values, Counters, Bounded):
    """Values and counters in one namespace of a store.

    Every operation on a key is atomic among all that share the store, and all of them together
    are linearizable: there is one order of them that agrees with real time. Timeouts and leases
    are in seconds, fractions allowed; ``timeout=None`` means ``default_timeout`` and 0 means for
    ever. Nothing is ever evicted; where a store is full, cached results make room.

    Every operation raises :exc:`InvalidKey` for a key that is not text of 1 to 250 UTF-8 bytes
    without control characters, and :exc:`StoreUnavailable` within ``CACHE_TIMEOUT`` seconds if
    the store does not respond; one that stores a value raises :exc:`NotSerializable`,
    :exc:`ValueTooLarge` and :exc:`StoreFull`.

    :param codec: turns values into bytes; pickle, unsigned, if left out.
    :param prefix: what all keys begin with in the store.
    :param default_timeout: seconds.
    :param max_value_bytes: how long an encoded value may be.
    :param namespace: keeps its keys apart from those of all other namespaces.
    """

    store = _OfKeyspace[Store]("Where the records are.")
    codec = _OfKeyspace[Codec]("Turns values into bytes and back.")
    key_prefix = _OfKeyspace[str]("What all keys begin with in the store.")
    default_timeout = _OfKeyspace[float]("Seconds after which a value expires; 0: never.")
    max_value_bytes = _OfKeyspace[int]("How long an encoded value may be.")

    def __init__(
        self,
        store: Store,
        *,
        codec: Codec | None = None,
        prefix: str = "",
        default_timeout: float = 0,
        max_value_bytes: int = MAX_VALUE_BYTES,
        namespace: str = "",
    ) -> None:
        codec = codec or PickleCodec()
        self._use(Keyspace(store, codec, prefix, default_timeout, max_value_bytes, namespace))

    def _use(self, keyspace: Keyspace) -> None:
        self.keyspace = keyspace
        # They are made on first use. None of them holds this object, so that it goes at once when
        # it is not used any more.
        self._namespaces: dict[tuple[str, Codec | None], Self] = {}
        self._contention: Contention | None = None

    @classmethod
    def from_settings(cls, settings: Settings, secrets: Mapping[str, Any] | None = None) -> Self:
        """Return the state that a Flask configuration's ``CACHE_*`` keys describe.

        Its store is opened when it is first used.

        :param settings: the keys of a Flask configuration; those that are left out have their
            defaults.
        :param secrets: has ``SECRET_KEY`` when it is needed, if not the settings.
        :raises ConfigurationError: naming the setting that is wrong.
        """
        settings = checked(settings)
        store = open_store(settings)
        return cls(
            store,
            codec=codec_from(settings, store.scope, secrets),
            prefix=settings["CACHE_KEY_PREFIX"],
            default_timeout=settings["CACHE_DEFAULT_TIMEOUT"] or 0,
            max_value_bytes=settings["CACHE_MAX_VALUE_BYTES"],
        )

    @property
    def physical_prefix(self) -> bytes:
        """What the keys begin with in the store."""
        return self.keyspace.physical_prefix

    def namespace(self, name: str, codec: Codec | None = None) -> Self:
        """Return a state of its own on the same store, which no key of this one reaches.

        :param name: a text, without colons and control characters, and not empty. ``"a/b"`` is the
            namespace ``"b"`` of the namespace ``"a"``.
        :param codec: that of this state if left out.
        :returns: the same object each time, as long as no more than 64 of them are in use.
        :raises InvalidKey: if the name is not such a text.
        """
        known = self._namespaces.get((name, codec))
        if known is not None:
            return known
        space, name = self.keyspace, checked_namespace(name)
        state = type(self)(
            space.store,
            codec=codec or space.codec,
            prefix=space.key_prefix,
            default_timeout=space.default_timeout,
            max_value_bytes=space.max_value_bytes,
            namespace=f"{space.namespace}/{name}" if space.namespace else name,
        )
        if len(self._namespaces) >= _MAX_NAMESPACES:
            self._namespaces.clear()
        return self._namespaces.setdefault((name, codec), state)

    def version(self, value: Any) -> str:
        """Return the :attr:`Item.version` that a value has when it is stored here.

        :raises NotSerializable: if the codec cannot store it.
        """
        return version(self.keyspace.encode(value))

    def batch(self, *, max_bytes: int | None = None) -> Batch:
        """Return an empty batch: operations on any keys of this namespace, done in one step.

        :param max_bytes: how long the values that it reads may be together, as they are stored;
            ``None`` for no bound.
        """
        return Batch(self.keyspace, max_bytes)

    def lock(self, name: str, lease: float = 30, wait: float = 10, *, renew: bool = False) -> Lock:
        """Return a lock that one client at a time holds, not yet acquired.

        Waiters get it in the order in which they came, once they have waited for 10 ms.

        :param name: of the lock; it is no key of this namespace.
        :param lease: seconds, from 0.01 to a day, after which it ends unless renewed.
        :param wait: how many seconds to wait for others to release it; 0 tries once.
        :param renew: whether it is renewed in the background while it is held. Its ``lost`` is set
            if that fails, before others can have it.
        :raises InvalidKey: if the name is not one that a key may have.
        :raises ValueError: if the lease is out of its bounds.
        """
        return Lock(self.namespace("lock", TEXTS), name, lease=lease, wait=wait, renew=renew)

    def keys(self, prefix: str = "") -> list[str]:
        """Return the live keys that start with ``prefix``.

        :param prefix: as a key, or empty for all keys of this namespace.
        :returns: each once; one that comes or goes meanwhile may or may not be among them.
        :raises NotSupported: if the store cannot list its keys.
        """
        return list(dict.fromkeys(chain.from_iterable(listing.pages(self.keyspace, prefix))))

    def items(
        self,
        prefix: str = "",
        *,
        cursor: str | None = None,
        limit: int = 100,
        max_bytes: int | None = None,
    ) -> tuple[list[Item], str | None]:
        """Return a page of the items whose keys start with ``prefix``.

        :param prefix: as for :meth:`keys`.
        :param cursor: ``None`` to begin, then what the last call returned.
        :param limit: how many items there are at most, from 1.
        :param max_bytes: how long their values may be together, as they are stored: no more is
            read than that, but for an item that is longer by itself.
        :returns: the items, and the cursor of the next page, ``None`` after the last one. Another
            page may have fewer items, or none. An item whose value cannot be read has an
            ``error``, and :data:`ABSENT` as its value.
        :raises NotSupported: if the store cannot list its keys.
        :raises InvalidKey: if the cursor is none that was returned.
        :raises ValueError: if ``limit`` is less than 1.
        """
        return listing.items_page(self.keyspace, prefix, cursor, limit, max_bytes)

    def clear(self) -> bool:
        """Remove all keys of this namespace and nothing else.

        :returns: ``True``.
        """
        self.keyspace.store.clear(self.keyspace.physical_prefix)
        return True

    def delete_prefix(self, prefix: str) -> int:
        """Remove the keys that start with ``prefix``, key by key.

        One that comes meanwhile may stay.

        :param prefix: as for :meth:`keys`.
        :returns: how many were removed.
        :raises NotSupported: if the store cannot list its keys.
        """
        return sum(len(self.delete_many(*keys)) for keys in listing.pages(self.keyspace, prefix))

    def close(self) -> None:
        """Release what the store has open; the next operation opens it again."""
        self.keyspace.store.close()
