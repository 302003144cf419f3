"""Which sessions a user has, to list and revoke them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..keyspace import Item
from ..keyspace.arguments import ABSENT
from ..state import State

MOST = 1024
"""How many sessions a user has, about: the record that lists them has to fit into the store."""

_LOOKS = frozenset(1 << bit for bit in range(4, MOST.bit_length()))


class Entry(NamedTuple):
    """A session of a user."""

    id: str
    """Stands for it in lists; it gives no access."""
    created: float
    """When it began, in seconds since 1970."""


class Users:
    """The keys of each user's sessions.

    A key is added before the session has its user and removed after it has gone: so none is
    missing, and what is there no longer is found out when they are listed.

    :param states: where the sessions are.
    :param keys: where each user has a record.
    """

    def __init__(self, states: State, keys: State) -> None:
        self._states = states
        self._keys = keys

    def add(self, user: str, key: str, created: float) -> None:
        """Note a session of the user; of very many the oldest ones are removed."""
        known = self._known(user)
        # Those that have gone are looked for when there are twice as many as before, about.
        gone = self._surplus(known) if len(known) in _LOOKS or len(known) > MOST else set()
        self._change(user, lambda keys: {**_without(keys, gone), key: created})

    def keep(self, user: str, key: str, created: float) -> None:
        """Note a session again that is stored now, if another login has taken it for gone."""
        if key not in self._known(user):
            self._change(user, lambda keys: {**keys, key: created})

    def of(self, user: str) -> list[Entry]:
        """Return the sessions of a user, the oldest one first."""
        found = [
            Entry(public(key), created)
            for key, created in self._known(user).items()
            if self._states.has(key)
        ]
        return sorted(found, key=lambda entry: entry.created)

    def revoke(self, user: str, only: str | None = None, keep: str | None = None) -> int:
        """Remove the sessions of a user; returns how many.

        :param only: the :attr:`Entry.id` of the one to remove.
        :param keep: that of one to keep.
        """
        gone = {
            key
            for key in self._known(user)
            if public(key) != keep and (only is None or public(key) == only)
        }
        removed = sum(self._states.delete(key) for key in gone)
        self._change(user, lambda keys: _without(keys, gone))
        return removed

    def _surplus(self, known: dict[str, float]) -> set[str]:
        """Those that are not there any more, and an eighth of the others if they are too many."""
        live = [key for key in sorted(known, key=known.__getitem__) if self._states.has(key)]
        kept = live if len(live) < MOST else live[MOST // 8 :]
        for key in live[: len(live) - len(kept)]:
            self._states.delete(key)
        return known.keys() - set(kept)

    def _change(self, user: str, change: Callable[[dict[str, float]], dict[str, float]]) -> None:
        def changed(item: Item | None) -> Any:
            return change(item.value if item else {}) or ABSENT

        # For ever, as a session may be used again and again: whose it is must not end before.
        self._keys.revise(user, changed, timeout=0)

    def _known(self, user: str) -> dict[str, float]:
        known: dict[str, float] = self._keys.get(user, {})
        return known


def public(key: str) -> str:
    """What stands for a session in lists."""
    return key[:16]


def _without(keys: dict[str, float], gone: set[str]) -> dict[str, float]:
    return {key: created for key, created in keys.items() if key not in gone}
