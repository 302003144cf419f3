"""The record of one session: taken by one request at a time, replaced if it is as it was read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from werkzeug.exceptions import ServiceUnavailable

from ..errors import LockTimeout, NotSerializable, SharedStateError, StoreFull, StoreUnavailable
from ..keyspace import Item
from ..keyspace.arguments import ABSENT
from ..locks.lock import Lock
from ..state import State
from .token import key_of

_CHANGED = "Another request has changed this session meanwhile; nothing was stored."


class SessionUnavailable(ServiceUnavailable):
    """The session cannot be read or stored now: 503. Nothing of it was changed."""

    def __init__(self, description: str) -> None:
        super().__init__(description, retry_after=1)


@dataclass(frozen=True)
class Options:
    """What the settings say of every session; times are in seconds."""

    permanent: bool
    locks_reads: bool
    wait: float
    lease: float
    absolute: float | None


class Record:
    """What the store has of a session: its ``data``, when it was ``created``, and its ``user``.

    :param states: where the sessions are.
    :param token: by which it is found; ``None`` if it has none yet.
    """

    def __init__(self, states: State, token: str | None, options: Options) -> None:
        self.token = token
        self.item: Item | None = None
        """As it was read."""
        self._states = states
        self._options = options
        self._lock: Lock | None = None

    @property
    def is_taken(self) -> bool:
        """Whether this request has it for itself: also if no other one can know it yet."""
        return self.item is None or self._lock is not None

    def read(self) -> Any:
        """What is stored, or ``None``; the token is forgotten then.

        One that the store does not have is never adopted: somebody may have planted it.
        """
        with as_503():
            if self.token is not None and self._options.locks_reads:
                self._take()
            item = None if self.token is None else self._readable()
        if item is None or self._has_ended(item):
            self.release()
            self.token = None
            return None
        self.item = item
        return item.value

    def _readable(self) -> Item | None:
        try:
            return self._states.item(self.key)
        except NotSerializable:  # Signed with a SECRET_KEY that is none any more.
            return None

    def take(self) -> None:
        """Have a record that was read for this request alone, as it was read.

        :raises SessionUnavailable: if others have changed it since.
        """
        with as_503():
            self._take()
            self._check(self._states.item(self.key))

    def release(self) -> None:
        """Let other requests of the client have it."""
        lock, self._lock = self._lock, None
        if lock is not None:
            with suppress(SharedStateError):  # It ends by itself; what was stored is stored.
                lock.discard()

    def create(self, token: str, data: str, user: str | None, lifetime: float) -> None:
        """Store it under a new token, and remove it where it was."""
        with as_503():
            self._states.set(key_of(token), self._value(data, user), self._left(lifetime))
            if self.item is not None:
                try:
                    self._replace(ABSENT, lifetime)
                except SessionUnavailable:
                    self._states.delete(key_of(token))
                    raise
        self.token = token

    def replace(self, data: str, user: str | None, lifetime: float) -> None:
        """Store it where it was."""
        with as_503():
            self._replace(self._value(data, user), lifetime)

    def remove(self) -> None:
        """Remove it, if it was there."""
        if self.item is not None:
            with as_503():
                self._replace(ABSENT, 0)

    def touch(self, lifetime: float) -> bool:
        """Let it expire so many seconds from now; returns whether it is there."""
        with as_503():
            return self.token is not None and self._states.touch(self.key, self._left(lifetime))

    @property
    def key(self) -> str:
        """Where it is in the store."""
        assert self.token is not None
        return key_of(self.token)

    @property
    def created(self) -> float:
        """When the session began, as the store's clock tells."""
        return self._states.store.clock() if self.item is None else self.item.value["created"]

    def _take(self) -> None:
        options = self._options
        self._lock = self._states.lock(self.key, lease=options.lease, wait=options.wait).acquire()

    def _replace(self, value: Any, lifetime: float) -> None:
        def change(item: Item | None) -> Any:
            self._check(item)
            return value

        self._states.revise(self.key, change, timeout=self._left(lifetime))

    def _check(self, item: Item | None) -> None:
        if item is None or self.item is None or item.version != self.item.version:
            raise SessionUnavailable(_CHANGED)

    def _value(self, data: str, user: str | None) -> dict[str, Any]:
        return {"data": data, "created": self.created, "user": user}

    def _left(self, lifetime: float) -> float:
        if self._options.absolute is None:
            return lifetime
        ends = self.created + self._options.absolute - self._states.store.clock()
        return max(min(lifetime, ends), 0.001)

    def _has_ended(self, item: Item) -> bool:
        absolute = self._options.absolute
        if absolute is None:
            return False
        return bool(item.value["created"] + absolute <= self._states.store.clock())


@contextmanager
def as_503() -> Iterator[None]:
    """What the store cannot do now is no error of the application's."""
    try:
        yield
    except LockTimeout as error:
        raise SessionUnavailable("Other requests of this client are not done yet.") from error
    except StoreUnavailable as error:
        raise SessionUnavailable("The store of the sessions does not respond.") from error
    except StoreFull as error:
        raise SessionUnavailable("The store of the sessions is full.") from error
