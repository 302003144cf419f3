"""Power cuts: the disk that loses what was not synced, the judge, and the stores on such a disk."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from torture.power.disk import Disk, Image
from torture.power.file import SECTOR, File
from torture.power.history import History, Outcome, history
from torture.power.recorder import Event, Kind
from torture.power.workload import Step

ROOT = Path(__file__).parents[2]
ROOT_INODE, INODE, OTHER = 1, 2, 3
OLD, NEW, NEWER = (byte * SECTOR for byte in (b"o", b"n", b"N"))


def newest(times: Sequence[int]) -> int:
    return len(times) - 1


def lost(times: Sequence[int]) -> int:
    return -1


class TestAFile:
    """What is left of a file."""

    def test_what_was_synced_stays(self) -> None:
        """A sync makes content and size durable; what comes after may be lost, or be there."""
        file = File()
        file.write(1, 0, OLD + OLD)
        file.sync()
        file.write(2, SECTOR - 1, b"abc")
        file.truncate(3, SECTOR + 1)
        assert file.left(lost) == OLD + OLD
        assert file.left(newest) == file.content == OLD[1:] + b"ab"

    def test_a_write_is_torn_at_sectors(self) -> None:
        """Each sector has what it held after any of its writes, in any combination."""
        file = File()
        file.write(1, 0, OLD + OLD)
        file.sync()
        file.write(2, 0, NEW + NEW)
        file.write(3, 0, NEWER + NEWER)
        rng = random.Random(1)
        found = {file.left(lambda times: rng.randrange(-1, len(times))) for _ in range(200)}
        assert found == {one + two for one in (OLD, NEW, NEWER) for two in (OLD, NEW, NEWER)}

    def test_a_truncated_file_is_of_one_moment(self) -> None:
        """The disk has a file as it was before it was truncated, or as it became after."""
        file = File()
        file.write(1, 0, OLD + OLD)
        file.sync()
        file.truncate(2, 0)
        file.write(3, 0, NEW)
        rng = random.Random(1)
        found = {file.left(lambda times: rng.randrange(-1, len(times))) for _ in range(200)}
        assert found == {OLD + OLD, b"", NEW, bytes(SECTOR)}

    def test_a_synced_write_syncs_no_other(self) -> None:
        """A write that is synced by itself is durable, and those around it are not."""
        file = File()
        file.write(1, 0, OLD + OLD)
        file.sync_range(SECTOR, SECTOR)
        assert file.left(lost) == bytes(SECTOR) + OLD


def disk(*events: Event) -> Disk:
    found = Disk(Event(Kind.MKDIR, ROOT_INODE, 0, b"/r"))
    for event in events:
        found.apply(event)
    return found


def images(cut: Disk) -> list[Image]:
    return [cut.cut(random.Random(seed)) for seed in range(60)]


MADE = Event(Kind.OPEN, INODE, 0, b"/r/file")
OTHER_MADE = Event(Kind.OPEN, OTHER, 0, b"/r/other")
WRITTEN = Event(Kind.WRITE, INODE, 0, NEW)
SYNCED = Event(Kind.SYNC, INODE, 0, b"")
ROOT_SYNCED = Event(Kind.SYNC, ROOT_INODE, 0, b"")


class TestADisk:
    """What is left of a directory."""

    def test_a_new_file_is_there_when_its_directory_is_synced(self) -> None:
        """That it is synced itself makes its content durable, not its name."""
        found = images(disk(OTHER_MADE, MADE, WRITTEN, SYNCED))
        assert {image.get("file") for image in found} == {None, NEW}
        assert {len(image) for image in found} == {1, 2, 3}
        found = images(disk(OTHER_MADE, MADE, WRITTEN, SYNCED, ROOT_SYNCED))
        assert all(image["file"] == NEW and image["other"] == b"" for image in found)

    def test_a_directory_is_lost_with_its_files(self) -> None:
        """The name of each directory above a file is synced in the one that it is in."""
        made = Event(Kind.MKDIR, OTHER, 0, b"/r/below")
        file = Event(Kind.OPEN, INODE, 0, b"/r/below/file")
        synced = Event(Kind.SYNC, OTHER, 0, b"")
        found = {tuple(sorted(image)) for image in images(disk(made, file, synced))}
        assert found == {(".",), (".", "below", "below/file")}

    def test_names_change_in_one_step(self) -> None:
        """A renamed file has its old name or its new one; a name that was lost gets no other."""
        removed = Event(Kind.UNLINK, 0, 0, b"/r/file")
        moved = Event(Kind.RENAME, 0, 0, b"/r/other\0/r/file")
        found = images(disk(MADE, OTHER_MADE, ROOT_SYNCED, removed, moved))
        names = {tuple(sorted(image)) for image in found}
        assert names == {(".", "file", "other"), (".", "other"), (".", "file")}

    def test_a_write_that_has_not_returned_may_be_lost(self) -> None:
        """One that is synced by itself is durable when something was done after it."""
        events = [MADE, ROOT_SYNCED, Event(Kind.WRITE_SYNCED, INODE, 0, NEW)]
        assert {image["file"] for image in images(disk(*events))} >= {b"", NEW}
        assert {image["file"] for image in images(disk(*events, OTHER_MADE))} == {NEW}

    def test_what_is_written_through_memory_may_be_anything(self) -> None:
        """The recorder cannot see it."""
        found = images(disk(MADE, ROOT_SYNCED, WRITTEN, Event(Kind.MAP, INODE, 0, b""), SYNCED))
        assert len({image["file"] for image in found}) > 50


def marks(*lines: str) -> History:
    written = [Event(Kind.WRITE, INODE, 0, line.encode()) for line in lines]
    return history([Event(Kind.OPEN, INODE, 0, b"/r/marks"), *written])


class TestTheJudge:
    """What is found after a cut is what was there at one moment, late enough."""

    HISTORY = marks(
        *("a begin order 0", "a done order 0 1", "a begin single 0", "a done single 0 1"),
        *("a begin order 1", "b begin order 0", "b done order 0 2", "a done order 1 3"),
    )
    LAST = 8

    @staticmethod
    def state(*steps: Step, **more: int) -> dict[str, object]:
        found: dict[str, object] = {**more}
        for step in steps:
            step.apply(found)
        return found

    def test_outcomes(self) -> None:
        """Nothing lost, the last writes lost, or a mix of two moments."""
        one, two, three = Step("a", 0), Step("b", 0), Step("a", 1)
        judge, state = self.HISTORY.judge, self.state
        assert judge(state(one, two, three, single=1), self.LAST + 1) == Outcome.KEPT
        assert judge(state(one, two, single=1), self.LAST) == Outcome.KEPT
        assert judge(state(one, single=1), self.LAST + 1) == Outcome.LOST
        assert judge({}, self.LAST + 1) == Outcome.LOST
        assert judge({}, 1) == Outcome.KEPT
        assert judge(state(one, three, single=1), self.LAST + 1) == Outcome.MIXED
        assert judge({**state(one, two), "last": "?", "single": 1}, self.LAST) == Outcome.MIXED

    def test_an_increment_is_of_the_same_moment(self) -> None:
        """It is there with the change that its client made after it, and not before the one."""
        one, two, three = Step("a", 0), Step("b", 0), Step("a", 1)
        assert self.HISTORY.judge(self.state(one, two, three), self.LAST + 1) == Outcome.MIXED
        assert self.HISTORY.judge({"single": 1}, self.LAST + 1) == Outcome.MIXED
        assert self.HISTORY.judge(self.state(one), 4) == Outcome.KEPT
        assert self.HISTORY.judge(self.state(one), 5) == Outcome.LOST

    def test_nothing_is_there_before_it_began(self) -> None:
        """A recording that is out of order would hide losses."""
        two = self.state(Step("a", 0), Step("b", 0), single=1)
        assert self.HISTORY.judge(two, 6) == Outcome.MIXED


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_the_stores_keep_their_promise(tmp_path: Path) -> None:
    """After 30 power cuts each; and a store or a disk that promises nothing is seen to lose."""
    options = ("--json", "--cuts", "30", "--steps", "120", "--seed", "1")
    command = (sys.executable, "-m", "torture.power", *options, "--keep", tmp_path / "kept")
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE)
    results = json.loads(done.stdout)["results"]
    assert [each for each in results if not each["is_as_promised"]] == []
    assert done.returncode == 0
