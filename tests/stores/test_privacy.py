"""Who may read the files of a store, and which directories are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from backends import Backend
from crowd import in_child
from lifecycle import (
    Settings,
    embedded,
    inc_anew,
    mode,
    of_ids,
    opened,
)

from sharedstate import ConfigurationError, StoreUnavailable


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such bits")
class TestPrivacy:
    @embedded
    def test_modes(self, cache_settings: Settings, tmp_path: Path) -> None:
        """Only this user can enter the directory or read the files, whatever the umask is."""
        settings = cache_settings | {"CACHE_DIR": str(tmp_path / "a" / "b")}
        before = os.umask(0)
        try:
            with opened(settings) as state:
                state.inc("n")
                state.get("n")
                files = {path.name: mode(path) for path in (tmp_path / "a" / "b").iterdir()}
        finally:
            os.umask(before)
        assert mode(tmp_path / "a" / "b") == 0o700
        assert len(files) >= 2
        assert set(files.values()) == {0o600}, files

    @embedded
    def test_open_directory(self, cache_settings: Settings, shared_directory: Path) -> None:
        """In a directory like `/tmp` the files lie in a private one of this user."""
        with opened(cache_settings | {"CACHE_DIR": str(shared_directory)}) as state:
            assert state.inc("n") == 1
        [private] = shared_directory.iterdir()
        assert private.name == f"sharedstate-{os.geteuid()}"
        assert mode(private) == 0o700
        assert in_child(inc_anew, cache_settings | {"CACHE_DIR": str(shared_directory)}) == 2

    @embedded
    def test_link(self, cache_settings: Settings, shared_directory: Path, tmp_path: Path) -> None:
        """A link that lies where the private directory would is not followed."""
        (tmp_path / "elsewhere").mkdir()
        (shared_directory / f"sharedstate-{os.geteuid()}").symlink_to(tmp_path / "elsewhere")
        settings = cache_settings | {"CACHE_DIR": str(shared_directory)}
        with opened(settings) as state, pytest.raises(ConfigurationError, match="symbolic link"):
            state.inc("n")
        assert list((tmp_path / "elsewhere").iterdir()) == []

    @embedded
    @pytest.mark.skipif("os.geteuid() != 0", reason="only root can give a directory away")
    @pytest.mark.parametrize("sub", ["", "private"])
    def test_of_somebody_else(
        self, sub: str, cache_settings: Settings, shared_directory: Path, tmp_path: Path
    ) -> None:
        """A directory that belongs to somebody else is refused and named."""
        theirs = shared_directory / f"sharedstate-{os.geteuid()}" if sub else tmp_path / "theirs"
        theirs.mkdir(mode=0o700)
        os.chown(theirs, 1, 1)
        settings = cache_settings | {"CACHE_DIR": str(shared_directory if sub else theirs)}
        with opened(settings) as state, pytest.raises(ConfigurationError, match=str(theirs)):
            state.inc("n")
        assert list(theirs.iterdir()) == []

    @embedded
    def test_private_one_that_was_opened_up(
        self, cache_settings: Settings, shared_directory: Path
    ) -> None:
        """A private directory that others may write to is refused and named."""
        private = shared_directory / f"sharedstate-{os.geteuid()}"
        private.mkdir()
        private.chmod(0o770)
        settings = cache_settings | {"CACHE_DIR": str(shared_directory)}
        with opened(settings) as state, pytest.raises(ConfigurationError, match=str(private)):
            state.inc("n")

    @embedded
    @pytest.mark.parametrize("bits", [0o777, 0o775, 0o770])
    def test_open_directory_that_is_not_sticky(
        self, bits: int, cache_settings: Settings, shared_directory: Path
    ) -> None:
        """Where others could rename our directory nothing is made."""
        shared_directory.chmod(bits)
        settings = cache_settings | {"CACHE_DIR": str(shared_directory)}
        with opened(settings) as state, pytest.raises(ConfigurationError, match="chmod 700"):
            state.inc("n")
        assert list(shared_directory.iterdir()) == []

    @of_ids("database-sqlite")
    def test_modes_of_a_database(self, cache_settings: Settings, tmp_path: Path) -> None:
        """Only this user can read a database's file and what lies beside it."""
        before = os.umask(0)
        try:
            with opened(cache_settings) as state:
                state.inc("n")
                state.get("n")
                files = {path.name: mode(path) for path in tmp_path.iterdir()}
        finally:
            os.umask(before)
        assert files == dict.fromkeys(
            ["state.db", "state.db-wal", "state.db-shm", "state.db.lock"], 0o600
        )

    @of_ids("database-sqlite")
    @pytest.mark.parametrize("bits", [0o1777, 0o777, 0o775])
    def test_database_in_an_open_directory(
        self, bits: int, cache_settings: Settings, shared_directory: Path
    ) -> None:
        """Where others could plant files for SQLite nothing is made, not even on closing."""
        shared_directory.chmod(bits)
        settings = cache_settings | {"CACHE_URL": f"sqlite:///{shared_directory}/state.db"}
        with opened(settings) as state, pytest.raises(ConfigurationError, match="CACHE_DATABASE"):
            state.inc("n")
        assert list(shared_directory.iterdir()) == []

    @of_ids("database-sqlite")
    @pytest.mark.skipif("os.geteuid() != 0", reason="only root can give a file away")
    @pytest.mark.parametrize("what", ["file", "directory"])
    def test_database_of_somebody_else(
        self, what: str, cache_settings: Settings, tmp_path: Path
    ) -> None:
        """A file or a directory that belongs to somebody else is refused and named."""
        (tmp_path / "state.db").touch()
        theirs = tmp_path / "state.db" if what == "file" else tmp_path
        os.chown(theirs, 1, 1)
        with opened(cache_settings) as state, pytest.raises(ConfigurationError, match=str(theirs)):
            state.get("n")

    @of_ids("database-sqlite", "filesystem")
    def test_link_for_the_lock_file(
        self, backend: Backend, cache_settings: Settings, tmp_path: Path
    ) -> None:
        """A link that lies where the lock file would is not followed."""
        name = "sharedstate.lock" if backend.id == "filesystem" else "state.db.lock"
        (tmp_path / name).symlink_to(tmp_path / "victim")
        with opened(cache_settings) as state, pytest.raises(StoreUnavailable):
            state.inc("n")
        assert not (tmp_path / "victim").exists()

    @pytest.fixture
    def shared_directory(self, tmp_path: Path) -> Path:
        """A directory like `/tmp`."""
        directory = tmp_path / "like-tmp"
        directory.mkdir()
        directory.chmod(0o1777)
        return directory
