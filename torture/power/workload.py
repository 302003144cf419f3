"""What is done to a store while it is recorded, and what it must hold after any part of it.

Every change is one step with an increment of one counter, so that its number says which place it
has among all: the first ``n`` of them lead to exactly one state. Between two changes a client
increments one counter more by itself, as that takes another way through the stores.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from sharedstate import Batch

ORDER, SINGLE = "order", "single"

_LONGEST = 3000

State = dict[str, Any]


class Step(NamedTuple):
    """A change, by who does it and which one of its own it is."""

    client: str
    number: int

    def collect(self, batch: Batch) -> None:
        """Put it into a batch, whose first result is its place among all."""
        batch.inc(ORDER)
        for key, value in self._values().items():
            if value is None:
                batch.delete(key)
            else:
                batch.set(key, value)
        batch.inc(f"count-{self.client}")

    def apply(self, state: State) -> None:
        """Do the same to a state."""
        state[ORDER] = state.get(ORDER, 0) + 1
        state.update(self._values())
        for key in [key for key, value in state.items() if value is None]:
            del state[key]
        count = f"count-{self.client}"
        state[count] = state.get(count, 0) + 1

    def _values(self) -> State:
        """What it stores, and what it removes, which is ``None``."""
        rng = random.Random(f"{self.client} {self.number}")
        text = f"{self.client} {self.number} " + rng.choice("abc") * rng.randrange(_LONGEST)
        slot = f"value-{self.client}-{rng.randrange(4)}"
        return {"last": text[:40], slot: None if rng.random() < 0.2 else text}
