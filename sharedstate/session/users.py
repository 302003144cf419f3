"""Which sessions a user has, to list and revoke them."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from ..state import State


class Entry(NamedTuple):
    """A session of a user."""

    id: str
    """Stands for it in lists; it gives no access."""
    created: float
    """When it began, in seconds since 1970."""


class Users:
    """The tokens of each user's sessions.

    A token is added before the session has its user and removed after it has gone: so none is
    missing, and what is there no longer is found out when they are listed.

    :param states: where the sessions are.
    :param tokens: where each user has a record.
    """

    def __init__(self, states: State, tokens: State) -> None:
        self._states = states
        self._tokens = tokens

    def add(self, user: str, token: str, created: float) -> None:
        """Note a session of the user."""
        gone = {other for other, _ in self._known(user).items() if not self._states.has(other)}
        self._tokens.update(
            user,
            lambda tokens: {**_without(tokens, gone), token: created},
            default={},
        )

    def of(self, user: str) -> list[Entry]:
        """Return the sessions of a user, the oldest one first."""
        found = [
            Entry(public(token), created)
            for token, created in self._known(user).items()
            if self._states.has(token)
        ]
        return sorted(found, key=lambda entry: entry.created)

    def revoke(self, user: str, only: str | None = None, keep: str | None = None) -> int:
        """Remove the sessions of a user; returns how many.

        :param only: the :attr:`Entry.id` of the one to remove.
        :param keep: that of one to keep.
        """
        gone = {
            token
            for token in self._known(user)
            if public(token) != keep and (only is None or public(token) == only)
        }
        removed = sum(self._states.delete(token) for token in gone)
        self._tokens.update(user, lambda tokens: _without(tokens, gone), default={})
        return removed

    def _known(self, user: str) -> dict[str, float]:
        known: dict[str, float] = self._tokens.get(user, {})
        return known


def public(token: str) -> str:
    """What stands for a session in lists."""
    return blake2b(token.encode(), digest_size=8).hexdigest()


def _without(tokens: dict[str, float], gone: set[str]) -> dict[str, float]:
    return {token: created for token, created in tokens.items() if token not in gone}
