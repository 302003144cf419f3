"""The lock among the processes of a host, which saves requests to etcd."""

from __future__ import annotations

from pathlib import Path

import pytest
from etcd_servers import Cluster

from sharedstate import State
from sharedstate.stores.etcd import host_lock, known
from sharedstate.stores.etcd.known import Note
from sharedstate.stores.etcd.messages import Found
from sharedstate.stores.operations import NEVER
from sharedstate.stores.support import file_lock
from sharedstate.stores.support.file_lock import FileLock

# The lock among the processes of a host.


@pytest.fixture
def contended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keys that were contended once are so for the rest of the test; where the lock file is."""
    monkeypatch.setattr(host_lock, "_CONTENDED_SECONDS", 1000)
    monkeypatch.setattr(known, "_SECONDS", 1000)
    monkeypatch.setattr(host_lock, "gettempdir", lambda: str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("contended")
def test_the_lock_saves_requests(state: State, etcd_member: Cluster, asked: list[str]) -> None:
    """Two that count on one key need a request each time, as one alone does."""
    with etcd_member.state() as other:
        numbers = [each.inc("n") for each in (state, other) * 4]
        del asked[:]
        numbers += [each.inc("n") for each in (state, other) * 4]
    assert numbers == list(range(1, 17))
    assert asked == ["kv/txn"] * 8


@pytest.mark.usefixtures("contended")
def test_a_turn_is_gone_on_with(state: State, etcd_member: Cluster, asked: list[str]) -> None:
    """Who holds the lock already does not wait for it."""
    with etcd_member.state() as other:
        for each in (state, other) * 4:
            each.inc("n")
        del asked[:]
        with state.store.host_lock([b"test:n"]):
            assert [state.inc("n"), state.inc("n")] == [9, 10]
        assert other.inc("n") == 11
    assert asked == ["kv/txn"] * 3


def test_a_turn_is_left_to_others(
    state: State, etcd_member: Cluster, contended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who held it last lets one who waits go first, and nobody else pauses."""
    pauses: list[float] = []
    with etcd_member.state() as other:
        for each in (state, other) * 4:
            each.inc("n")
        monkeypatch.setattr(host_lock.time, "sleep", pauses.append)
        other.inc("n")
        assert not pauses
        monkeypatch.setattr(file_lock, "_FLAG_SECONDS", 1000)
        lock = FileLock(*contended.glob("*.lock"))
        assert lock.acquire(10)
        lock.announce()
        lock.release()
        lock.close()
        state.inc("n")
        assert not pauses
        state.inc("n")
        assert len(pauses) == 1


@pytest.mark.parametrize("what", ["damaged", "wrong", "old"])
def test_notes_are_not_trusted(
    state: State,
    etcd_member: Cluster,
    contended: Path,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the one before has noted is compared with what is there."""
    with etcd_member.state() as other:
        for each in (state, other) * 4:
            each.inc("n")
        (path,) = contended.glob("*.note")
        match what:
            case "damaged":
                damaged = path.read_bytes().replace(b'"8"', b'"5"')
                with path.open("r+b") as file:
                    assert file.write(damaged) == len(damaged)
            case "wrong":
                Note(path).write([(b"sharedstate/test:n", Found(b"9", NEVER, 1, 0))])
            case "old":
                monkeypatch.setattr(known, "_SECONDS", 0)
        assert [state.inc("n"), other.inc("n")] == [9, 10]


def test_a_lock_that_does_not_come_free(
    state: State, etcd_member: Cluster, contended: Path
) -> None:
    """A process that is stopped while it holds the lock stops nobody else."""
    with etcd_member.state() as other:
        for each in (state, other) * 4:
            each.inc("n")
    (path,) = contended.glob("*.lock")
    lock = FileLock(path)
    assert lock.acquire(10)
    try:
        assert state.inc("n") == 9
    finally:
        lock.release()
        lock.close()
