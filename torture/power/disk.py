"""A disk whose power can fail: what was written, and what of it is durable."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path, PurePath

from .file import File
from .loss import Loss
from .names import Names
from .recorder import Event, Kind

Image = dict[str, bytes | None]
"""What is left: path, relative to the directory, → content, or ``None`` for a directory."""

_MOST_GARBAGE = 1 << 16


class Disk:
    """A directory on a disk, to which recorded events are applied one by one.

    :param first: the event that makes the directory.
    :param syncs: whether the disk does what it is asked for; if not, nothing is ever durable.
    """

    def __init__(self, first: Event, *, syncs: bool = True) -> None:
        self._root = first.data.decode()
        self._syncs = syncs
        self._names = Names(self._root)
        self._files = {first.inode: self._names.present[self._root]}
        self._time = 0
        self._in_flight: tuple[File, int, int] | None = None

    def apply(self, event: Event) -> None:
        """Do what was done.

        The last write of all may not have returned when the power fails: it is durable from the
        next event on, where its descriptor makes it so. A sync that may not have returned is one
        that was not done, so a cut before it shows the same.
        """
        self._land()
        self._time += 1
        if event.kind in (Kind.OPEN, Kind.MKDIR, Kind.RENAME, Kind.UNLINK):
            self._name(event)
        elif (file := self._files.get(event.inode)) is not None:
            self._change(file, event)

    def file(self, path: str) -> File | None:
        """The file that programs find at a path of the recording."""
        return self._names.present.get(path)

    def present(self) -> Image:
        """What programs find, as far as it was not written through memory."""
        return self._image({p: f for p, f in self._names.present.items() if not f.is_mapped}, None)

    def cut(self, rng: random.Random) -> Image:
        """What may be left when the power fails now."""
        names = self._names.left(rng)
        pending = {time for file in names.values() for time in file.pending()}
        loss = Loss(rng, sorted(pending))
        image = self._image(names, loss)
        for path, file in names.items():
            if file.is_mapped:
                image[self._relative(path)] = rng.randbytes(rng.randrange(_MOST_GARBAGE))
        return image

    def _image(self, names: dict[str, File], loss: Loss | None) -> Image:
        found: Image = {}
        for path, file in names.items():
            if file.is_directory:
                content = None
            else:
                content = bytes(file.content) if loss is None else file.left(loss.choose)
            found[self._relative(path)] = content
        return found

    def _relative(self, path: str) -> str:
        return str(PurePath(path).relative_to(self._root))

    def _name(self, event: Event) -> None:
        path, _, other = event.data.decode().partition("\0")
        names = self._names
        if event.kind is Kind.UNLINK:
            names.change({path: None})
        elif event.kind is Kind.RENAME:
            names.change({path: None, other: names.present[path]})
        elif path not in names.present:
            file = self._files[event.inode] = File(is_directory=event.kind is Kind.MKDIR)
            names.change({path: file})
        elif event.offset:
            self._files[event.inode].truncate(self._time, 0)

    def _change(self, file: File, event: Event) -> None:
        if event.kind in (Kind.WRITE, Kind.WRITE_SYNCED):
            file.write(self._time, event.offset, event.data)
            if event.kind is Kind.WRITE_SYNCED:
                self._in_flight = file, event.offset, len(event.data)
        elif event.kind is Kind.TRUNCATE:
            file.truncate(self._time, event.offset)
        elif event.kind is Kind.EXTEND:
            file.extend(self._time, event.offset)
        elif event.kind is Kind.MAP:
            file.is_mapped = True
        elif event.kind is Kind.SYNC and self._syncs:
            file.sync()
            self._names.sync(file)

    def _land(self) -> None:
        if self._in_flight is not None and self._syncs:
            file, offset, length = self._in_flight
            file.sync_range(offset, length)
        self._in_flight = None


def restore(image: Image, directory: Path) -> None:
    """Put an image into a directory, in the place of what is there."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    for path, content in sorted(image.items(), key=lambda item: item[0]):
        if path == ".":
            continue
        if content is None:
            (directory / path).mkdir(mode=0o700)
        else:
            descriptor = os.open(directory / path, os.O_WRONLY | os.O_CREAT, 0o600)
            with open(descriptor, "wb") as file:
                file.write(content)
