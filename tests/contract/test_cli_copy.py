"""``flask state copy``: values, fences and what is written meanwhile."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

import json
import threading
from contextlib import closing

import pytest
from state_command import app, elsewhere, fill_all, run, state, state_at  # noqa: F401  # fixtures

from sharedstate import State
from sharedstate.cli import transfer
from sharedstate.cli.records import Entry
from sharedstate.codec import TEXTS


def test_copy_moves_values_counters_times_and_tokens(run, state, elsewhere):
    """The target has the same values, counters and remaining times, and knows used tokens."""
    state.set_many({f"k{number}": number for number in range(1200)})
    state.set("short", [1], 60)
    state.inc("n", 5, once="token")
    with state.lock("job") as lock:
        fence = lock.fence
    code, out, _ = run("copy", "--to", elsewhere, "--json")
    assert (code, json.loads(out)["refused"]) == (0, 0)
    target = state_at(elsewhere)
    assert sorted(target.keys()) == sorted(state.keys())
    assert target.get_many("k7", "short", "n") == [7, [1], 5]
    assert 30 < (target.ttl("short") or 0) <= 60
    assert target.inc("n", 5, once="token") == 5
    with target.lock("job") as lock:
        assert lock.fence > fence
    target.close()


def test_copy_leaves_what_is_there_unless_told(run, state, elsewhere):
    """A key of the target is refused, reported and kept; ``--overwrite`` replaces it."""
    target = state_at(elsewhere)
    target.set("a", "theirs")
    state.set_many({"a": "ours", "b": "ours", "other": 1})
    code, out, error = run("copy", "--to", elsewhere, "--prefix", "a", "--json")
    assert (code, json.loads(out)) == (1, {"written": 0, "refused": 1})
    assert "--overwrite" in error
    assert target.get("a") == "theirs"
    code, out, _ = run("copy", "--to", elsewhere, "--overwrite", "--dry-run", "--json")
    assert (code, json.loads(out)["would_write"]) == (0, 3)
    assert target.keys() == ["a"]
    assert run("copy", "--to", elsewhere, "--overwrite")[0] == 0
    assert target.get_many("a", "b", "other") == ["ours", "ours", 1]
    target.close()


class Writers:
    """Count on one key while it is copied, set another one and remove a third."""

    def __init__(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        self.numbers: list[int] = []
        self._state = state
        self._stop = threading.Event()
        self._goes_on = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._count)
        store_entry = transfer.store_entry

        def while_they_write(target: State, entry: Entry, **options: bool) -> bool:
            stored = store_entry(target, entry, **options)
            if entry.key == b"n" and not self._stop.is_set():
                state.set_many({"a": "came later", "z": "changed"})
                state.delete("m")
                self.wait()
            return stored

        monkeypatch.setattr(transfer, "store_entry", while_they_write)

    def __enter__(self) -> Writers:
        self._thread.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self) -> None:
        """Wait until a number was given that was not asked for before now."""
        while self._goes_on.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self._goes_on.acquire(timeout=30)

    def _count(self) -> None:
        while not self._stop.is_set():
            self.numbers.append(self._state.inc("n"))
            self._goes_on.release()


def test_what_is_written_while_it_is_copied(run, state, elsewhere, monkeypatch):
    """The command fails and says what to do; then all is there, and no number is given twice."""
    state.set_many({"m": "goes", "z": "stays"})
    with state.lock("job"):
        pass
    with Writers(state, monkeypatch) as writers:
        code, out, error = run("copy", "--to", elsewhere, "--json")
    assert (code, json.loads(out)["refused"]) == (1, 0)
    assert json.loads(out)["differ"] == 4
    assert "--again" in error
    code, out, _ = run("copy", "--to", elsewhere, "--again", "--dry-run", "--json")
    assert (code, json.loads(out)) == (0, {"would_write": 3, "refused": 0, "removed": 1})
    code, out, _ = run("copy", "--to", elsewhere, "--again", "--json")
    assert code == 0
    assert json.loads(out) == {"written": 3, "refused": 0, "removed": 1, "differ": 0}
    with closing(state_at(elsewhere)) as target:
        assert target.get_many("a", "m", "z") == ["came later", None, "changed"]
        assert target.inc("n") == len(writers.numbers) + 1
        assert target.keys() == ["a", "n", "z"]


def test_copying_again_leaves_the_rest(run, state, elsewhere):
    """With a prefix nothing else is touched, and what is about to end is not looked for."""
    state.set_many({"a1": 1, "b1": 1})
    with closing(state_at(elsewhere)) as target:
        target.set_many({"a2": 2, "b1": 2, "b2": 2})
        target.set("a3", 3, 1)
        target.namespace("session").set("sid", 1)
        code, out, _ = run("copy", "--to", elsewhere, "--prefix", "a", "--again", "--json")
        assert code == 0
        assert json.loads(out) == {"written": 1, "refused": 0, "removed": 1, "differ": 0}
        assert target.get_many("a1", "a2", "b1", "b2") == [1, None, 2, 2]
        assert target.namespace("session").get("sid") == 1


def test_copy_takes_sessions_locks_and_tokens(run, state, elsewhere):
    """Without a prefix everything is copied; with one, what was left is named."""
    fill_all(state)
    assert state.namespace("lock", TEXTS).add("held", "token", 60)
    code, _, error = run("copy", "--to", elsewhere, "--prefix", "a", "--json")
    assert code == 0
    assert "session (1)" in error
    assert run("copy", "--to", elsewhere, "--overwrite")[0] == 0
    target = state_at(elsewhere)
    assert target.namespace("session").get("sid") == {"user": 1}
    assert target.namespace("lock", TEXTS).get("held") == "token"
    assert target.inc_once("paid", "order", 50) == (50, True)
    target.close()


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
@pytest.mark.parametrize("ahead", ["source", "target"])
def test_a_copied_fence_never_falls(run, state, elsewhere, overwrite, ahead):
    """Of the fences of source and target the higher one goes on, overwriting or not."""
    target = state_at(elsewhere)
    for each, is_ahead in ((state, ahead == "source"), (target, ahead == "target")):
        for _ in range(10 if is_ahead else 3):
            with each.lock("job"):
                pass
    run("copy", "--to", elsewhere, *overwrite)
    with target.lock("job") as lock:
        assert lock.fence == 11
    target.close()
