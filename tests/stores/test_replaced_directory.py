"""A directory that is deleted, moved or replaced while its store is open."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from crowd import in_child
from lifecycle import (
    Settings,
    embedded,
    forever,
    inc_anew,
    numbers_of,
    of,
    opened,
    run,
)

from sharedstate import StoreUnavailable
from sharedstate.stores.support import watch


class TestDeletedDirectory:
    @embedded
    def test_noticed(self, cache_settings: Settings, tmp_path: Path) -> None:
        """A store whose directory is deleted says so, and then begins anew with all others."""
        settings = cache_settings | {"CACHE_DIR": str(tmp_path / "gone")}
        with opened(settings) as state:
            state.set("n", 1000)
            shutil.rmtree(tmp_path / "gone")
            with pytest.raises(StoreUnavailable, match="deleted"):
                for _ in forever():
                    state.inc("n")
            assert [state.inc("n"), state.inc("n")] == [1, 2]
            assert in_child(inc_anew, settings) == 3
            assert state.get("n") == 3

    @embedded
    def test_noticed_by_readers(self, cache_settings: Settings, tmp_path: Path) -> None:
        """One that only reads does not go on for ever with what was deleted."""
        settings = cache_settings | {"CACHE_DIR": str(tmp_path / "gone")}
        with opened(settings) as state:
            state.set("n", 1000)
            assert state.get("n") == 1000
            shutil.rmtree(tmp_path / "gone")
            with pytest.raises(StoreUnavailable, match="deleted"):
                for _ in forever():
                    state.get("n")
            assert state.get("n") is None

    @of("filesystem")
    @pytest.mark.parametrize("how", ["deleted", "moved away", "file deleted", "file moved over"])
    @pytest.mark.parametrize("write", ["inc", "set"])
    @pytest.mark.parametrize("is_told", [True, False], ids=["told", "looks"])
    def test_noticed_at_once(
        self,
        is_told: bool,
        write: str,
        how: str,
        cache_settings: Settings,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The very next write is refused, and those after it go to what is there now."""
        settings = cache_settings | {"CACHE_DIR": str(tmp_path / "state")}
        with opened(cache_settings | {"CACHE_DIR": str(tmp_path / "other")}) as other:
            other.inc("n", 41)
        if not is_told:  # As without inotify.
            monkeypatch.setattr(watch, "_queue_of", lambda path: None)
        with opened(settings) as state:
            state.inc("n", initial=1000)
            _do(how, tmp_path)
            with pytest.raises(StoreUnavailable, match="deleted or replaced.*restore"):
                state.inc("n") if write == "inc" else state.set("n", 1)
            assert state.inc("n") == (42 if how == "file moved over" else 1)

    @pytest.mark.slow
    @embedded
    def test_replaced(self, cache_settings: Settings, tmp_path: Path) -> None:
        """One that another process has made anew meanwhile is noticed, and shared from then on."""
        settings = cache_settings | {"CACHE_DIR": str(tmp_path / "gone")}
        with opened(settings) as state:
            state.set("n", 1000)
            shutil.rmtree(tmp_path / "gone")
            # By a new interpreter: a fork would close the file, and open it anew by itself.
            assert numbers_of(run("print(state.inc('n'))", settings)) == [1]
            with pytest.raises(StoreUnavailable, match="replaced"):
                for _ in forever():
                    state.inc("n")
            assert state.inc("n") == 2


def _do(how: str, below: Path) -> None:
    directory = below / "state"
    files = [directory / f"sharedstate.sqlite3{suffix}" for suffix in ("", "-wal", "-shm")]
    if how == "deleted":
        shutil.rmtree(directory)
    elif how == "moved away":
        directory.rename(below / "old")
    else:
        for file in files if how == "file deleted" else files[1:]:
            file.unlink()
        if how == "file moved over":
            shutil.copy(below / "other" / files[0].name, directory / "copy")
            (directory / "copy").rename(files[0])
