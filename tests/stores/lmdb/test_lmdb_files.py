"""When the file of `lmdb` is checked, and what is noticed when it is replaced."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import lmdb.verify
import pytest
from lmdb_states import opened

from sharedstate import StoreUnavailable
from sharedstate.stores.lmdb import check as lmdb_check
from sharedstate.stores.support import watch

ROOT = Path(__file__).parents[3]


class TestChecks:
    """A file is checked before it is opened where damage is possible, and only there."""

    @pytest.fixture
    def checks(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The files that were checked, in this process."""
        checked = []
        verify = lmdb.verify.verify

        def recorded(path: str, **options: Any) -> list[str]:
            checked.append(path)
            return verify(path, **options)

        monkeypatch.setattr(lmdb.verify, "verify", recorded)
        return checked

    @pytest.mark.slow
    def test_after_an_orderly_end_there_is_none(self, tmp_path: Path, checks: list[str]) -> None:
        """Neither after a close nor after the end of an interpreter that has not closed it."""
        with opened(tmp_path) as state:
            assert state.inc("n") == 1
        run(tmp_path, "state.inc('n')")
        with opened(tmp_path) as state, opened(tmp_path) as other:
            assert state.inc("n") == 3
            assert other.inc("n") == 4
        assert checks == []

    @pytest.mark.slow
    def test_after_any_other_end_there_is_one(self, tmp_path: Path, checks: list[str]) -> None:
        """One for all who open it from then on, as long as somebody has it open."""
        run(tmp_path, "state.inc('n'); os.kill(os.getpid(), 9)", status=-9)
        with opened(tmp_path) as state:
            assert state.inc("n") == 2
            assert checks == [str(tmp_path / "data.mdb")]
            # In other processes a check would fail.
            run(tmp_path, "lmdb.verify.verify = None; state.inc('n'); os.kill(os.getpid(), 9)", -9)
            state.close()
            assert state.inc("n") == 4
        assert len(checks) == 1

    def test_after_a_start_of_the_machine_there_is_one(
        self, tmp_path: Path, checks: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A power cut may have taken what was written before an orderly end."""
        with opened(tmp_path) as state:
            state.inc("n")
            state.close()
            (tmp_path / "boot").write_text("another")
            monkeypatch.setattr(lmdb_check, "_BOOT_ID", tmp_path / "boot")
            assert state.inc("n") == 2
        assert len(checks) == 1

    def test_a_child_is_no_user(self, tmp_path: Path) -> None:
        """One that was forked while the file was open, and leaves it alone, has it open no more."""
        reading, writing = os.pipe()
        with opened(tmp_path) as state:
            state.inc("n")
            pid = os.fork()
            if not pid:
                os.write(writing, b".")
                signal.pause()
                os._exit(1)
            os.read(reading, 1)  # Its own handlers of the fork have run.
        try:
            with (tmp_path / "checked").open() as checked:
                fcntl.flock(checked, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(reading)
            os.close(writing)

    def test_one_that_lasts_is_an_error_for_others(self, tmp_path: Path) -> None:
        """They wait for it for their time-out, and are served when it is over."""
        with opened(tmp_path, CACHE_TIMEOUT="0.05") as state:
            state.inc("n")
            state.close()
            with (tmp_path / "checked").open() as checking:
                fcntl.flock(checking, fcntl.LOCK_EX)
                with pytest.raises(StoreUnavailable, match="being checked"):
                    state.inc("n")
            assert state.inc("n") == 2


def run(directory: Path, code: str, status: int = 0) -> None:
    """Run the code in an interpreter of its own, with `state` on this directory."""
    prelude = (
        "import os, sys, lmdb.verify; from sharedstate import State;"
        "state = State.from_settings({'CACHE_TYPE': 'lmdb', 'CACHE_DIR': sys.argv[1]});"
    )
    command = [sys.executable, "-c", prelude + code, str(directory)]
    assert subprocess.run(command, cwd=ROOT).returncode == status


# Ways in which a file that is open goes from its path, `directory / "data.mdb"`.


def _delete_the_directory(directory: Path) -> None:
    shutil.rmtree(directory)


def _move_the_directory(directory: Path) -> None:
    directory.rename(directory.with_name("old"))


def _replace_the_directory(directory: Path) -> None:
    shutil.copytree(directory, directory.with_name("copy"))
    directory.rename(directory.with_name("old"))
    directory.with_name("copy").rename(directory)


def _move_the_one_above(directory: Path) -> None:
    directory.parent.rename(directory.parent.with_name("old"))


def _delete_the_file(directory: Path) -> None:
    (directory / "data.mdb").unlink()


def _replace_the_file(directory: Path) -> None:
    shutil.copy(directory / "data.mdb", directory / "copy")
    (directory / "copy").replace(directory / "data.mdb")


GONE = [_delete_the_directory, _move_the_directory, _move_the_one_above, _delete_the_file]
REPLACED = [_replace_the_directory, _replace_the_file]


class TestReplacedFile:
    """No write is acknowledged that nobody else sees: the first one after it is an error."""

    @pytest.fixture(params=["inotify", "without"], autouse=True)
    def way(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "_CHECK_SECONDS", 1000)
        if request.param == "without":
            monkeypatch.setattr(watch, "_queue_of", lambda path: None)

    @pytest.mark.parametrize("change", [*GONE, *REPLACED])
    def test_the_next_write_is_an_error(self, tmp_path: Path, change: Any) -> None:
        """The one after it uses what is at the path then."""
        with opened(tmp_path / "above" / "directory") as state:
            state.set("n", 6)
            state.inc("n")
            change(tmp_path / "above" / "directory")
            with pytest.raises(StoreUnavailable, match="deleted or replaced"):
                state.inc("n")
            assert state.inc("n") == (8 if change in REPLACED else 1)

    def test_what_happens_beside_it_is_none(self, tmp_path: Path) -> None:
        """Neither other modes nor other files are."""
        with opened(tmp_path / "directory") as state:
            state.set("n", 7)
            (tmp_path / "directory" / "data.mdb").chmod(0o640)
            (tmp_path / "directory" / "other").mkdir()
            (tmp_path / "directory" / "other").rename(tmp_path / "other")
            assert [state.inc("n") for _ in range(3)] == [8, 9, 10]

    def test_a_child_watches_for_itself(self, tmp_path: Path) -> None:
        """A fork leaves the parent's watch, and nothing open that closing does not close."""
        before = set(os.listdir("/proc/self/fd"))
        with opened(tmp_path / "directory") as state:
            state.set("n", 7)
            pid = os.fork()
            if not pid:
                with suppress(BaseException):
                    os._exit(state.inc("n"))
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 8
            _move_the_directory(tmp_path / "directory")
            with pytest.raises(StoreUnavailable, match="deleted or replaced"):
                state.inc("n")
        assert set(os.listdir("/proc/self/fd")) == before
