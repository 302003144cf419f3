"""What the two stores on SQLite, and the embedded ones beside them, do between two statements."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from backends import BACKENDS, Backend, FakeClock, innermost

from sharedstate import State, StoreFull
from sharedstate.stores.database.dialects.sqlite import SQLite
from sharedstate.stores.support.counters import number_in
from sharedstate.stores.support.file_lock import FileLock

ROOT = Path(__file__).parents[2]
Settings = dict[str, str]

TABLES = {"filesystem": ("sharedstate.sqlite3", "entries"), "database": ("state.db", "sharedstate")}


def of(*ids: str) -> Any:
    """Run on these lines of the table of stores."""
    chosen = [pytest.param(b, id=b.id) for b in BACKENDS if b.id in ids]
    return pytest.mark.parametrize("backend", chosen)


on_sqlite = of("filesystem", "database-sqlite")


@contextmanager
def opened(settings: Settings, **more: Any) -> Iterator[State]:
    with closing(State.from_settings({**settings, **more})) as state:
        yield state


def trace(monkeypatch: pytest.MonkeyPatch, seen: Callable[[str], None]) -> None:
    """Call `seen` with each statement that begins on a connection which is opened from now on."""
    connect = sqlite3.connect

    def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_trace_callback(seen)
        return connection

    monkeypatch.setattr(sqlite3, "connect", traced)
    monkeypatch.setattr(sqlite3.dbapi2, "connect", traced)


@on_sqlite
def test_many_keys_are_of_one_moment(
    backend: Backend, cache_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write between the statements of one `get_many` is not seen by the later ones."""
    monkeypatch.setattr(SQLite, "most_names", 500)
    keys = [f"k{i}" for i in range(1200)]
    reads: list[str] = []
    # On `database` such a read keeps writers out meanwhile.
    waits = backend.name == "database"
    with opened(cache_settings) as first:
        first.set_many(dict.fromkeys(keys, "old"))
    with opened(cache_settings) as writer, opened(cache_settings) as reader:

        def seen(statement: str) -> None:
            if statement.startswith(("SELECT", "WITH")) and len(statement) > 1000:
                reads.append(statement)
                if len(reads) == 2:
                    writer.set_many(dict.fromkeys(keys, "new"))

        writer.set("warm", 1)  # Its connection is not traced.
        if waits:
            innermost(writer.store).timeout = 0.1
        trace(monkeypatch, seen)
        assert set(reader.get_many(*keys)) == {"old"}
        assert len(reads) > 2
        assert set(reader.get_many(*keys)) == {"old" if waits else "new"}


@of("filesystem")
def test_any_number_of_records(cache_settings: Settings) -> None:
    """One step writes and removes each of its records, however many, short, long and temporary."""
    with opened(cache_settings) as state:
        for size in (3, 5, 33, 300):
            keys = [f"k{i}" for i in range(size)]
            values = {key: [i, f"s{i}", "x" * (990 + i)][i % 3] for i, key in enumerate(keys)}
            state.set_many(dict.fromkeys(keys, "old"), timeout=50)
            state.set_many(values)
            assert state.get_many(*keys) == [*values.values()]
            batch = state.batch()
            changed: list[Any] = []
            for i, key in enumerate(keys):
                if i % 3 == 0:
                    batch.inc(key)
                    changed.append(i + 1)
                elif i % 4 == 0:
                    batch.delete(key)
                    changed.append(None)
                else:
                    batch.set(key, f"{values[key]}+")
                    changed.append(f"{values[key]}+")
            batch.apply()
            assert state.get_many(*keys) == changed
            assert not any(state.ttl(key) for key in keys[:9])


@on_sqlite
def test_what_is_renewed_is_not_collected(
    backend: Backend, cache_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that others renew just before the collector has the lock stays."""
    with opened(cache_settings) as state:
        state.set("renewed", "x", timeout=10)
        state.set("expired", "x", timeout=10)
    name, table = TABLES[backend.name]
    acquire = FileLock.acquire

    def renew_and_acquire(lock: FileLock, timeout: float) -> bool:
        with closing(sqlite3.connect(tmp_path / name, isolation_level=None)) as other:
            column = "key" if backend.name == "filesystem" else "name"
            other.execute(
                f"UPDATE {table} SET expires = expires + 1000 "
                f"WHERE CAST({column} AS TEXT) LIKE '%renewed'"
            )
        return acquire(lock, timeout)

    with opened(cache_settings) as state:
        clock = FakeClock(state.store, {})
        clock.now = state.store.clock() + 10**9
        with closing(sqlite3.connect(tmp_path / name, isolation_level=None)) as other:
            other.execute(f"UPDATE {table} SET expires = {clock.now - 1}")
        monkeypatch.setattr(FileLock, "acquire", renew_and_acquire)
        state.inc("n")  # The first write of a store collects.
        monkeypatch.undo()
        assert state.get_many("renewed", "expired") == ["x", None]
        with closing(sqlite3.connect(tmp_path / name)) as other:
            assert other.execute(f"SELECT count(*) FROM {table}").fetchall() == [(2,)]


@of("simple", "filesystem", "lmdb")
def test_each_of_a_batch_on_a_full_store(cache_settings: Settings) -> None:
    """What there is no room for is refused alone; what needs none is done, and once."""
    with opened(cache_settings, CACHE_MAX_BYTES=1 << 20) as state:
        state.inc("n")
        state.set("old", "x" * 100_000)
        with pytest.raises(StoreFull):
            for i in range(1000):
                state.set(f"k{i}", "x" * 50_000)
        batch = state.batch()
        batch.inc("n")
        batch.set("large", "x" * 900_000)
        batch.delete("old")
        batch.inc("n")
        first, refused, removed, second = batch.apply_each()
        assert (first, removed, second) == (2, True, 3)
        assert isinstance(refused, StoreFull)
        assert state.get_many("n", "large", "old") == [3, None, None]


@on_sqlite
@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs Linux")
def test_nothing_is_open_in_a_child(cache_settings: Settings, tmp_path: Path) -> None:
    """A fork finds the file closed: the parent's locks would end when the child closes it."""
    with opened(cache_settings) as state:
        state.inc("n")
        assert state.get("n") == 1
        state.set("n", 1)
        pid = os.fork()
        if pid == 0:
            links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
            found = [os.readlink(link) for link in links if os.path.islink(link)]
            os._exit(sum(target.startswith(str(tmp_path)) for target in found))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert state.inc("n") == 2


def test_placeholders_have_no_numbers() -> None:
    """No statement for SQLite numbers its placeholders: Python 3.12.0 to 3.12.3 warn of `?1`."""
    stores = ROOT / "sharedstate" / "stores"
    modules = [*stores.glob("filesystem/*.py"), *stores.glob("database/**/*.py")]
    modules += stores.glob("support/sqlite*.py")
    assert len(modules) >= 10
    for module in modules:
        assert not re.search(r"\?\d", module.read_text()), module


def test_only_the_text_of_a_counter_is_a_number() -> None:
    """Bytes that the number would not give back stay bytes, whatever they are."""
    others = [b"--5", b"007", b"-0", b"", b"-", b"+1", b"1 ", b"9223372036854775808"]
    assert [number_in(raw) for raw in (b"0", b"-5", b"9223372036854775807")] == [0, -5, 2**63 - 1]
    assert {number_in(raw) for raw in others} == {None}
