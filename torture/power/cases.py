"""The stores that are recorded, and what each of them promises."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .history import Outcome

FULL = frozenset({Outcome.KEPT})
NORMAL = frozenset({Outcome.KEPT, Outcome.LOST})


@dataclass(frozen=True)
class Case:
    """A store, as it is set up and as it is cut.

    :param allowed: what a power cut may do to it.
    :param syncs: whether the disk syncs when it is asked to.
    :param is_control: it has to be seen to break what is allowed: the proof that this can be seen.
    """

    store: str
    durability: str
    allowed: Collection[Outcome]
    syncs: bool = True
    is_control: bool = False

    @property
    def recording(self) -> str:
        """What its recording is called."""
        return f"{self.store}-{self.durability}"

    @property
    def title(self) -> str:
        """What it is called in the report."""
        return f"{self.store}, {self.durability}" + ("" if self.syncs else ", on a disk that lies")


CASES = (
    Case("filesystem", "normal", NORMAL),
    Case("filesystem", "full", FULL),
    Case("lmdb", "full", FULL),
    Case("lmdb", "normal", FULL, is_control=True),
    Case("filesystem", "full", FULL, syncs=False, is_control=True),
    Case("lmdb", "full", FULL, syncs=False, is_control=True),
)
