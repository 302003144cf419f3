"""The names of files, on a disk that loses what was not synced."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import PurePath

from .file import File

Change = Mapping[str, File | None]
"""Names that are given or taken away in one step: path → the file, or ``None``."""


class Names:
    """Which file each path leads to, and how much of that is durable.

    Only the sync of a directory makes the names in it durable, and of the changes since any may be
    lost: POSIX promises no more. ext4 and XFS do: their journals keep the order of the changes, and
    who syncs a new file there finds its name too.

    :param root: the path of the directory that all others are in; it is never lost.
    """

    def __init__(self, root: str) -> None:
        self._root = PurePath(root)
        self.present: dict[str, File] = {root: File(is_directory=True)}
        self._durable = dict(self.present)
        self._pending: list[Change] = []

    def change(self, change: Change) -> None:
        """Give or take names; it may be lost until the next sync."""
        _apply(self.present, change)
        self._pending.append(change)

    def sync(self, directory: File) -> None:
        """Make the names in a directory durable."""
        paths = {path for path, found in self.present.items() if found is directory}
        pending, self._pending = self._pending, []
        for change in pending:
            if any(str(PurePath(path).parent) in paths for path in change):
                _apply(self._durable, change)
            else:
                self._pending.append(change)

    def left(self, rng: random.Random) -> dict[str, File]:
        """The paths that the disk has after a power cut."""
        found = dict(self._durable)
        share = rng.choice((0.0, 0.5, 1.0))
        lost: set[str] = set()
        for change in self._pending:
            if rng.random() < share and lost.isdisjoint(change):
                _apply(found, change)
            else:
                lost.update(change)
        return {path: file for path, file in found.items() if self._is_reachable(path, found)}

    def _is_reachable(self, path: str, found: Mapping[str, File]) -> bool:
        above = [each for each in PurePath(path).parents if each.is_relative_to(self._root)]
        return all(str(each) in found for each in above)


def _apply(names: dict[str, File], change: Change) -> None:
    for path, file in change.items():
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file
