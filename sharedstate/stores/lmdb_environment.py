"""The LMDB environments that this process has open."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .directory import Identity
from .drivers import import_driver
from .gate import Gate
from .lmdb_header import refuse_damaged

_CLOSE_SECONDS = 4.0
_MAX_READERS = 1024
_HEADROOM = 16 << 20
_NAMES = (b"sharedstate-1-entries", b"sharedstate-1-expiries")


class Environment:
    """An open environment, one a directory and process: LMDB forbids to open it twice."""

    def __init__(self, directory: Path, *, durability: str, max_bytes: int) -> None:
        path = directory / "data.mdb"
        refuse_damaged(path)
        self.directory = directory
        self.max_bytes = max_bytes
        self.gate = Gate()
        self.is_open = True
        self.users = 0
        lmdb = import_driver("lmdb")
        self.full_error = lmdb.MapFullError
        self.env = lmdb.open(
            str(directory),
            # Headroom: LMDB copies the pages that a deletion changes, so a full map could not
            # even be emptied.
            map_size=max_bytes + max(_HEADROOM, max_bytes // 8),
            mode=0o600,
            sync=durability == "full",
            max_dbs=len(_NAMES),
            max_readers=_MAX_READERS,
        )
        try:
            self.env.reader_check()
            self._refuse_foreign()
            self.entries, self.expiries = (self.env.open_db(name) for name in _NAMES)
        except BaseException:
            self.env.close()
            raise
        self.identity = Identity(path)

    def _refuse_foreign(self) -> None:
        with self.env.begin() as txn, txn.cursor() as cursor:
            names = [bytes(key) for key in cursor.iternext(values=False)]
        if names and _NAMES[0] not in names:
            raise ConfigurationError(
                f"{self.directory} holds an LMDB environment of another program or version; "
                "it was left as it is: choose another CACHE_DIR"
            )

    def close(self) -> None:
        """Wait for the operations in progress, and close it for good."""
        # LMDB crashes or hangs where it is closed under an operation.
        if self.gate.shut(_CLOSE_SECONDS) and self.is_open:
            self.is_open = False
            self.env.close()
        self.gate.open()


_environments: dict[Path, Environment] = {}
_opening = threading.Lock()


def acquire(directory: Path, **options: Any) -> Environment:
    """The environment of a directory, opened or shared with those who have it open."""
    with _opening:  # Threads that race in lmdb.open crash the process.
        environment = _environments.get(directory)
        if environment is None:
            environment = _environments[directory] = Environment(directory, **options)
        environment.users += 1
        return environment


def release(environment: Environment) -> None:
    """Give up an environment; the last user closes it."""
    with _opening:
        environment.users -= 1
        if not environment.users:
            _forget(environment)


def discard(environment: Environment) -> None:
    """Close an environment for all its users, who open it anew."""
    with _opening:
        _forget(environment)


def _forget(environment: Environment) -> None:
    if _environments.get(environment.directory) is environment:
        del _environments[environment.directory]
    environment.close()


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
    for environment in list(_environments.values()):
        _forget(environment)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
