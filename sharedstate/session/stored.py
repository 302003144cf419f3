"""The session of one request: read on its first access, and nobody else's until it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SessionMixin

from .record import Record, as_503
from .token import key_of, new_token
from .users import Users, public

_serializer = TaggedJSONSerializer()  # The types that Flask's own session has; no pickle.
_EMPTY = _serializer.dumps({})


class StoredSession(SessionMixin):
    """What ``flask.session`` stands for.

    ::

        request 1   first access: lease, read {n: 1} ── n += 1 ── response: store {n: 2}, free
        request 2       first access: waits ······················ lease, read {n: 2} ── …

    :param record: what the store has of it.
    :param permanent: whether it is permanent where nothing else was said.
    """

    def __init__(self, record: Record, users: Users, permanent: bool) -> None:
        self.accessed = False
        self._record = record
        self._users = users
        self._permanent = permanent
        self._data: dict[str, Any] | None = None
        self._text = _EMPTY
        self._user: str | None = None
        self._is_renewed = False

    # The mapping.

    def __getitem__(self, key: str) -> Any:
        return self._read()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._write()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._write()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def clear(self) -> None:
        """Remove all of it. A session that is saved empty is removed from the store."""
        self._write().clear()

    def __repr__(self) -> str:
        return f"<stored session {self._data!r}>"

    # What applications ask of a session besides.

    @property
    def sid(self) -> str | None:
        """What the cookie holds; ``None`` before a new session is saved."""
        return self._record.token

    @property
    def id(self) -> str | None:
        """The :attr:`Entry.id` by which it can be revoked; it gives no access."""
        return None if self.sid is None else public(key_of(self.sid))

    @property
    def new(self) -> bool:  # type: ignore[override]
        """Whether the store has no such session yet."""
        self._read()
        return self._record.item is None

    @property
    def modified(self) -> bool:
        """Whether it is not as it was read, however deep the change lies."""
        return self._data is not None and _serializer.dumps(self._data) != self._text

    @modified.setter
    def modified(self, value: bool) -> None:
        """It is seen without being told."""

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser."""
        return bool((self._data or {}).get("_permanent", self._permanent))

    @permanent.setter
    def permanent(self, value: bool) -> None:
        self._write()["_permanent"] = bool(value)

    @property
    def user(self) -> str | None:
        """Whose session it is, by whom it can be listed and revoked. Set it at the login."""
        self._read()
        return self._user

    @user.setter
    def user(self, name: str | None) -> None:
        self._write()
        self._user = name

    def regenerate(self) -> None:
        """Give it another token when it is saved, as after a login. The old one is gone then."""
        self._write()
        self._is_renewed = True

    # The end of the request.

    def save(self, lifetime: float) -> bool:
        """Store it, for so many seconds, and let other requests of the client have it.

        :returns: whether there is a session now.
        :raises SessionUnavailable: if others have changed it meanwhile: nothing is stored.
        """
        try:
            with as_503():  # Also where a user's sessions are noted.
                return self._save(lifetime)
        finally:
            self.release()

    def release(self) -> None:
        """Let other requests of the client have it."""
        self._record.release()

    def _save(self, lifetime: float) -> bool:
        record, user = self._record, self._user
        if self._data is None:
            return record.touch(lifetime)
        if not self._data and user is None:
            record.remove()
            return False
        text = _serializer.dumps(self._data)
        if record.item is None or self._is_renewed:
            token = new_token()
            if user is not None:
                self._users.add(user, key_of(token), record.created)
            record.create(token, text, user, lifetime)
            if user is not None:
                self._users.keep(user, record.key, record.created)
        elif text != self._text or user != record.item.value["user"]:
            if user is not None and user != record.item.value["user"]:
                self._users.add(user, record.key, record.created)
            record.replace(text, user, lifetime)
        else:
            record.touch(lifetime)
        return True

    def _read(self) -> dict[str, Any]:
        self.accessed = True
        if self._data is None:
            found = self._record.read()
            if found is not None:
                self._text, self._user = found["data"], found["user"]
            self._data = _serializer.loads(self._text)
        return self._data

    def _write(self) -> dict[str, Any]:
        data = self._read()
        if not self._record.is_taken:
            self._record.take()
        return data
