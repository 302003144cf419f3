"""The LMDB environments that this process has open."""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError
from ..support.directory import sync_names
from ..support.drivers import import_driver
from ..support.gate import Gate
from ..support.watch import Watch
from .check import CheckedFile
from .header import refuse_damaged

_CLOSE_SECONDS = 4.0
_EXIT_SECONDS = 0.1
_MAX_READERS = 1024
_READER_BYTES = 64
_HEADROOM = 16 << 20
_LOCK_FILE = "lock.mdb"

# The entries are in the unnamed database, which saves a page a commit. A named one is an entry in
# it; this name is one that no key has.
_EXPIRIES = b"\xffsharedstate-1-expiries"


class Environment:
    """An open environment, one a directory and process: LMDB forbids to open it twice."""

    def __init__(self, directory: Path, *, durability: str, max_bytes: int, timeout: float) -> None:
        path = directory / "data.mdb"
        refuse_damaged(path)
        is_durable = durability == "full"
        self.file = CheckedFile(path, timeout, _make if is_durable else None)
        try:
            self._open(path, is_durable, max_bytes)
        except BaseException:
            self.file.forget()
            raise

    def _open(self, path: Path, is_durable: bool, max_bytes: int) -> None:
        directory = path.parent
        _allocate_lock_file(directory / _LOCK_FILE)
        self.directory = directory
        self.max_bytes = max_bytes
        self.gate = Gate()
        self.is_open = True
        self.is_sound = True
        self.users: set[object] = set()
        lmdb = import_driver("lmdb")
        self.full_error = lmdb.MapFullError
        self._panic_error = lmdb.PanicError
        self._lmdb_error = lmdb.Error
        self.env = lmdb.open(
            str(directory),
            # Headroom: LMDB copies the pages that a deletion changes, so a full map could not
            # even be emptied.
            map_size=max_bytes + max(_HEADROOM, max_bytes // 8),
            mode=0o600,
            sync=is_durable,
            max_dbs=1,
            max_readers=_MAX_READERS,
        )
        try:
            if is_durable:
                sync_names(directory)
            self.env.reader_check()
            self._refuse_foreign()
            self.expiries = self.env.open_db(_EXPIRIES)
        except BaseException:
            self.env.close()
            raise
        self.watch = Watch(path)

    def _refuse_foreign(self) -> None:
        with self.env.begin() as txn:
            is_ours = txn.get(_EXPIRIES) is not None or not txn.stat()["entries"]
        if not is_ours:
            raise ConfigurationError(
                f"{self.directory} holds an LMDB environment of another program or version; "
                "it was left as it is: choose another CACHE_DIR"
            )

    def has_panicked_by(self, error: Exception) -> bool:
        """Whether it refuses everything from now on, as after a failed write of a meta page."""
        if not isinstance(error, self._lmdb_error):
            return False
        try:
            with self.gate:
                self.env.begin().abort()
        except self._lmdb_error as second:
            return isinstance(second, self._panic_error)
        return False

    def close(self, timeout: float = _CLOSE_SECONDS) -> None:
        """Wait for the operations in progress, and close it for good."""
        # LMDB crashes or hangs where it is closed under an operation.
        if self.gate.shut(timeout) and self.is_open:
            self.is_open = False
            self.env.close()
            self.watch.close()
            self.file.leave(is_sound=self.is_sound)
        self.gate.open()


def _make(path: Path) -> None:
    """Make an empty environment, whole or not at all: LMDB does not sync it."""
    lmdb = import_driver("lmdb")
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with lmdb.open(str(new), subdir=False, lock=False, mode=0o600) as env:
        env.sync(True)
    new.replace(path)


def _allocate_lock_file(path: Path) -> None:
    """LMDB maps this file too, and a disk that is full would kill the process with SIGBUS."""
    if hasattr(os, "posix_fallocate"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, _READER_BYTES * (_MAX_READERS + 2))
        finally:
            os.close(descriptor)


# By the directory's device and inode: a link may lead to it by another path.
_environments: dict[tuple[int, int], Environment] = {}
_opening = threading.Lock()


def acquire(directory: Path, user: object, **options: Any) -> Environment:
    """The environment of a directory, opened or shared with those who have it open."""
    found = directory.stat()
    key = (found.st_dev, found.st_ino)
    with _opening:  # Threads that race in lmdb.open crash the process.
        environment = _environments.get(key)
        if environment is None:
            environment = _environments[key] = Environment(directory, **options)
        environment.users.add(user)
        _close_unused()
        return environment


def release(environment: Environment, user: object) -> None:
    """Give up an environment; it is closed when nobody uses it."""
    environment.users.discard(user)
    with _opening:
        _close_unused()


def abandon(environment: Environment, user: object) -> None:
    """Like :func:`release`, for the garbage collector.

    It may interrupt an operation, or :func:`acquire` itself, so that nothing can be waited for
    here; what is not used any more is closed when the next one is opened.
    """
    environment.users.discard(user)


def discard(environment: Environment) -> None:
    """Close an environment for all its users, who open it anew."""
    with _opening:
        environment.users.clear()
        _close_unused()


def _close_unused() -> None:
    for key, environment in list(_environments.items()):
        if not environment.users:
            del _environments[key]
            environment.close()


@atexit.register
def _at_exit() -> None:
    """Close all in order, so that the next one to open them need not check them."""
    for environment in _environments.values():
        environment.close(_EXIT_SECONDS)


def _before_fork() -> None:
    _opening.acquire()
    for environment in _environments.values():
        environment.gate.shut(_CLOSE_SECONDS)


def _after_fork_in_parent() -> None:
    for environment in _environments.values():
        environment.gate.open()
    _opening.release()


def _after_fork_in_child() -> None:
    global _opening
    _opening = threading.Lock()
    # The environment must not be used here, but py-lmdb would not open another one beside it.
    # LMDB sees that it is not the process which opened it, and leaves the parent's alone.
    for environment in _environments.values():
        environment.is_open = False
        environment.file.forget()
        environment.watch.close()
        if environment.gate.is_empty():
            environment.env.close()
    _environments.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
