"""What Flask-Caching takes for its backend: the state of an application and its cached results."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any

from cachelib.serializers import BaseSerializer, SimpleSerializer

from ..codec import Codec, SerializerCodec
from ..errors import NotSerializable
from ..keyspace.arguments import Timeout
from ..settings import Settings
from ..state import State
from ..state.compute import is_stale
from ..stores.operations import Add
from .results import ResultKey, Results, StaleKey

logger = logging.getLogger(__name__)

RESULT_SECONDS = 300
"""When a cached result expires, unless something else is set: as with Flask-Caching."""

REFRESH_SECONDS = 30
"""After this another caller computes a stale result, if the first one has not stored it."""

_CLIENTS = ("_write_client", "_read_client", "_client", "_cache")
"""Where cachelib's backends keep what applications delete keys with."""


class Backend:
    """A :class:`State` with the interface of cachelib, where cached results are found too.

    A key is looked for in the state, and among the results of decorators and of the template tag
    where the state has none; deleting removes it from both. What decorators store goes to the
    results. Everything else is done on the state alone.
    """

    def __init__(self, state: State, *, result_timeout: float, threshold: int) -> None:
        self.state = state
        self._result_timeout = result_timeout
        self._threshold = threshold
        self._pointed = False

    @classmethod
    def from_settings(cls, settings: Settings, secrets: Settings | None = None) -> Backend:
        """What a Flask configuration's ``CACHE_*`` keys describe, not yet opened.

        :param settings: as :func:`checked` returns them.
        :param secrets: as for :meth:`State.from_settings`.
        """
        timeout = settings["CACHE_DEFAULT_TIMEOUT"]
        return cls(
            State.from_settings(settings, secrets),
            result_timeout=RESULT_SECONDS if timeout is None else timeout,
            threshold=settings["CACHE_THRESHOLD"],
        )

    @cached_property
    def results(self) -> Results:
        """What decorators and the template tag have stored."""
        # Made when it is first used: the state's store may be wrapped until then.
        return Results(self.state, default_timeout=self._result_timeout, threshold=self._threshold)

    def __getattr__(self, name: str) -> Any:
        if name in _CLIENTS:
            self._point_to_delete_prefix(name)
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.state, name)

    def _point_to_delete_prefix(self, name: str) -> None:
        # Most ask by hasattr(), and without a word their cached values would stay.
        if not self._pointed:
            self._pointed = True
            logger.warning(
                "the store %r has no %s; to remove keys by prefix, on every store that can list "
                "them, call cache.delete_prefix(prefix)",
                self.state.store.name,
                name,
            )

    # Reading.

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key.

        :param default: returned if the key is not there or has expired.
        :returns: the value, or ``default``; a stored ``None`` is a value.
        :raises NotSerializable: if the codec cannot read what is stored.
        """
        space = self.state.keyspace
        if type(key) is ResultKey:
            raw = self._find_results((key,))[0]
            return default if raw is None else space.decode(raw, key)
        if type(key) is StaleKey:
            return self._get_unless_due(key, default)
        (raw,) = space.store.values((space.key(key),))
        try:
            return self.results.get(key, default) if raw is None else space.codec.decode(raw)
        except NotSerializable as error:
            error.key = key
            raise

    def _get_unless_due(self, key: StaleKey, default: Any) -> Any:
        """Return a result, a stale one too, unless this caller is the one that computes it anew."""
        space, results = self.state.keyspace, self.results.keyspace
        own, result = space.store.read((space.key(key), results.key(key)))
        found = result if own is None else own
        if found is None:
            return default
        if own is None and is_stale(results, found, key.seconds):
            claims = self.state.namespace("refresh").keyspace
            if claims.apply(key, Add(claims.encode(True), REFRESH_SECONDS)):
                return default
        return space.decode(found[0], key)

    def has(self, key: str) -> bool:
        """Return whether a key is there."""
        return self.state.has(key) or self.results.has(key)

    def get_many(self, *keys: str, default: Any = None) -> list[Any]:
        """Return the values of several keys.

        On stores that have transactions they are those of one moment.

        :param default: stands for the value of a key that is not there.
        :returns: a value for each key in their order.
        :raises NotSerializable: if the codec cannot read one of them; it names the key.
        """
        found = self._find_results(keys) if keys else []
        decode = self.state.keyspace.decode
        pairs = zip(keys, found, strict=True)
        return [default if raw is None else decode(raw, key) for key, raw in pairs]

    def get_dict(self, *keys: str) -> dict[str, Any]:
        """Return the values of several keys like :meth:`get_many`.

        :returns: the values by key, ``None`` for one that is not there.
        """
        return dict(zip(keys, self.get_many(*keys), strict=True))

    def _find_results(self, keys: Sequence[str]) -> list[bytes | None]:
        """What each key holds in the state, or else among the results, read in one step."""
        space = self.state.keyspace
        places = [*map(space.key, keys), *map(self.results.keyspace.key, keys)]
        found = space.store.values(places)
        pairs = zip(found[: len(keys)], found[len(keys) :], strict=True)
        return [result if raw is None else raw for raw, result in pairs]

    # Writing. A negative timeout is cachelib's "expires at once".

    def set(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value, whatever was there.

        :param timeout: seconds until it expires; 0: never; ``None``: ``CACHE_DEFAULT_TIMEOUT``. A
            negative one removes the key.
        :returns: ``True``.
        :raises SharedStateError: as for :meth:`State.set`.
        """
        if isinstance(key, ResultKey):
            return self._set_result(key, value, timeout)
        if timeout is not None and _is_over(timeout):
            self.delete(key)
            return True
        return self.state.set(key, value, timeout)

    def add(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        """Store a value if there is none, in one step with its expiry.

        :param timeout: as for :meth:`set`; with a negative one nothing is stored.
        :returns: whether there was none; of many callers at once one succeeds.
        :raises SharedStateError: as for :meth:`State.set`.
        """
        if timeout is not None and _is_over(timeout):
            return not self.state.has(key)
        return self.state.add(key, value, timeout)

    def set_many(self, mapping: Mapping[str, Any], timeout: Timeout = None) -> list[str]:
        """Store several values in one transaction, where the store has them.

        :param timeout: that of each, as for :meth:`set`.
        :returns: the keys.
        :raises SharedStateError: as for :meth:`State.set_many`.
        """
        if timeout is not None and _is_over(timeout):
            return self.delete_many(*mapping)
        if mapping and all(type(key) is ResultKey for key in mapping):
            return self.results.set_many(mapping, timeout)
        return self.state.set_many(mapping, timeout)

    def _set_result(self, key: ResultKey, value: Any, timeout: Timeout) -> bool:
        if timeout is not None and _is_over(timeout):
            self.delete(key)
            return True
        kept = self.results.set(key, value, timeout)
        if type(key) is StaleKey:
            self.state.namespace("refresh").delete(key)
        # The application has set a value of its own there, which would hide this newer one.
        if self.state.has(key):
            self.state.delete(key)
        return kept

    # Removing.

    def delete(self, key: str) -> bool:
        """Remove a key.

        :returns: whether it was there.
        """
        was_there = self.state.delete(key)
        return self.results.delete(key) or was_there

    def delete_many(self, *keys: str) -> list[str]:
        """Remove several keys in one transaction, where the store has them.

        :returns: all of them: one that is not there counts as deleted, as in cachelib.
        """
        self.state.delete_many(*keys)
        self.results.delete_many(*keys)
        return list(keys)

    def delete_prefix(self, prefix: str) -> int:
        """See :meth:`Cache.delete_prefix`."""
        return self.state.delete_prefix(prefix) + self.results.delete_prefix(prefix)

    def clear(self) -> bool:
        """Remove all keys of this application and nothing else.

        Locks, ``once`` tokens and the namespaces that the application has made stay.

        :returns: ``True``.
        """
        self.state.clear()
        return self.results.clear()

    # What applications that were written for cachelib look for.

    @property
    def serializer(self) -> BaseSerializer:
        """What turns values into bytes; another one may be put in its place."""
        codec = self.state.codec
        return codec.serializer if isinstance(codec, SerializerCodec) else _CodecSerializer(codec)

    @serializer.setter
    def serializer(self, serializer: BaseSerializer) -> None:
        self.state.codec = self.results.codec = SerializerCodec(serializer)

    @property
    def _write_client(self) -> Any:
        """The client of redis-py's, where there is one, as cachelib's Redis backends have it.

        A key is ``key_prefix`` and the caller's key there. Of cached results it ends with a zero
        byte besides.
        """
        if not self.state.store.has_client:
            raise AttributeError("_write_client")  # __getattr__ says more.
        return self.state.store.client

    _read_client = _write_client


class _CodecSerializer(SimpleSerializer):
    """A codec of ours, for those who expect a serializer."""

    def __init__(self, codec: Codec) -> None:
        self.dumps = codec.encode  # type: ignore[assignment]
        self.loads = codec.decode  # type: ignore[assignment]


def _is_over(timeout: float | timedelta) -> bool:
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    return seconds < 0
