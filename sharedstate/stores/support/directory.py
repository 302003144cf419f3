"""The private directory in which an embedded store keeps its files."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path

from ...errors import ConfigurationError, StoreUnavailable
from ...settings import Settings

_CHECK_SECONDS = 0.1
_PAGE_BYTES = 16384
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def data_directory(settings: Settings) -> Path:
    """``CACHE_DIR``, which an embedded store cannot do without."""
    directory = settings["CACHE_DIR"]
    if not directory:
        raise ConfigurationError(
            "this store keeps its state in files: set CACHE_DIR to a directory for them"
        )
    return Path(directory).absolute()


def make_private(directory: Path) -> Path:
    """A directory that nobody else can write to: ``directory`` itself, or one below it.

    One that others may write to, such as ``/tmp``, gets a sub-directory of ours with mode 0700,
    named after the user, so that all processes of this user agree on it.

    :raises ConfigurationError: if it belongs to somebody else, who could put files of theirs in
        the place of ours, or if others may write to it and it is not sticky.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "nt":  # Windows has no such bits; a user's directories are private there.
            return directory
        found = directory.stat()
        if found.st_mode & _WRITABLE_BY_OTHERS:
            if not found.st_mode & stat.S_ISVTX:
                # Who may rename what others have made there could swap this directory.
                raise _writable_by_others("CACHE_DIR", directory)
            directory = directory / f"sharedstate-{os.geteuid()}"
            directory.mkdir(mode=0o700, exist_ok=True)
            found = directory.lstat()
    except OSError as error:
        raise ConfigurationError(
            f"CACHE_DIR {directory} cannot be used: {error.strerror}; "
            "choose one that this user can write to"
        ) from error
    if stat.S_ISLNK(found.st_mode):
        raise ConfigurationError(
            f"CACHE_DIR {directory} is a symbolic link in a directory that others can write to: "
            "remove it, or choose another"
        )
    _refuse_foreign("CACHE_DIR", directory, found)
    return directory


def make_private_file(path: Path, setting: str) -> None:
    """Make a file that only this user can read, unless it is there, where nobody can replace it.

    :param setting: what names the path, for the errors.
    :raises ConfigurationError: if the file or its directory is somebody else's, or others can
        write to the directory, sticky or not: they could put files of theirs beside ours.
    """
    if os.name == "nt":
        return
    try:
        _refuse_foreign(setting, path.parent, path.parent.stat())
        try:
            # One that is there is not opened: closing it would end SQLite's locks on it.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            found = path.stat()
            if found.st_uid != os.geteuid():
                raise _foreign(setting, path, found) from None
    except OSError as error:
        raise ConfigurationError(
            f"{setting} {path} cannot be used: {error.strerror}; "
            "choose a file in a directory of this user's own"
        ) from error


def _refuse_foreign(setting: str, directory: Path, found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        raise _foreign(setting, directory, found)
    if found.st_mode & _WRITABLE_BY_OTHERS:
        raise _writable_by_others(setting, directory)


def _foreign(setting: str, path: Path, found: os.stat_result) -> ConfigurationError:
    return ConfigurationError(
        f"{setting} {path} belongs to user {found.st_uid} and this process runs as "
        f"{os.geteuid()}: choose a directory of its own, or run it as that user"
    )


def _writable_by_others(setting: str, directory: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{setting} {directory} can be written to by others: chmod 700 it, or choose another"
    )


def sync_names(directory: Path) -> None:
    """Make durable that a directory, and the files in it, are where they are.

    SQLite syncs the directory that its file is in, LMDB none, and nobody those above. ext4 and XFS
    need none of that; POSIX lets a file that was synced be lost with its name.
    """
    if os.name == "nt":  # Directories cannot be opened there.
        return
    for each in (directory, *directory.parents):
        with suppress(OSError):  # This user may not read it, and so has not made it.
            descriptor = os.open(each, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def is_disk_full(directory: Path) -> bool:
    """Whether there is no room for another page where the directory lies."""
    try:
        found = os.statvfs(directory)
    except (AttributeError, OSError):  # Windows has no such call.
        return False
    return found.f_bavail * found.f_frsize < _PAGE_BYTES


class Identity:
    """Notices that a file which is open was deleted or replaced at its path.

    A process that has it open would go on with a file that no other process sees.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened = self._at_path()
        self._checked = time.monotonic()

    def is_lost(self) -> bool:
        """Whether the path no longer leads to the file, looked at ten times a second at most."""
        now = time.monotonic()
        if now - self._checked < _CHECK_SECONDS:
            return False
        self._checked = now
        return self.is_other()

    def is_other(self) -> bool:
        """Whether the path leads to another file now, or to none."""
        return self._at_path() != self._opened

    def error(self) -> StoreUnavailable:
        """What to raise when it is lost."""
        return StoreUnavailable(
            f"{self.path} was deleted or replaced while it was in use; this operation was not "
            "done, and the next one uses what is there now. To go back to a backup, "
            "use `flask state restore`, which needs no file to be moved"
        )

    def _at_path(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


def set_aside(path: Path, *companions: str) -> list[str]:
    """Rename a file and those named after it to ``….damaged-N``; returns the new names."""
    number = 1
    while path.with_name(f"{path.name}.damaged-{number}").exists():
        number += 1
    renamed = []
    for suffix in ("", *companions):
        old = path.with_name(f"{path.name}{suffix}")
        new = path.with_name(f"{path.name}.damaged-{number}{suffix}")
        try:
            old.rename(new)
        except FileNotFoundError:
            continue
        renamed.append(str(new))
    return renamed


def remedy(*companions: str) -> str:
    """What to do about a damaged file that :func:`set_aside` renames, as the end of a message."""
    together = f", together with its {' and '.join(companions)}," if companions else ""
    return (
        "it was left as it is: bring a backup back with 'flask state restore --anew FILE', or move "
        f"it away{together} to begin anew"
    )
