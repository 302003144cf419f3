"""What a client does next."""

from __future__ import annotations

from collections.abc import Sequence

from .calls import Call
from .client import Client
from .groups import GROUPS
from .operations import OPERATIONS

ALL = OPERATIONS | GROUPS


class Chooser:
    """Chooses among the operations, and among the keys.

    :param names: of the operations; all if there are none.
    """

    def __init__(self, client: Client, names: Sequence[str] = ()) -> None:
        self._client = client
        self._names = list(names) or list(ALL)
        self._weights = [ALL[name][0] for name in self._names]

    def next_call(self, keys: Sequence[str]) -> Call:
        """A call on some of the keys."""
        rng = self._client.rng
        [name] = rng.choices(self._names, self._weights)
        return ALL[name][1](self._client, rng.sample(keys, 2), keys)._replace(name=name)

    def leave_out(self, name: str) -> None:
        """Do an operation no more: the store cannot do it."""
        place = self._names.index(name)
        del self._names[place], self._weights[place]
