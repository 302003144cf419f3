"""What the etcd store sends and holds, and what ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from backends import FakeClock
from etcd_servers import Cluster

from sharedstate import NotSerializable, State
from sharedstate.stores.etcd import store as etcd_store
from sharedstate.stores.etcd.leases import Leases
from sharedstate.stores.etcd.messages import from_text, to_text
from sharedstate.stores.operations import NEVER

# What is sent, and what is held.

ROUND_TRIPS: dict[str, tuple[int, Callable[[State], Any]]] = {
    "get": (1, lambda s: s.get("a")),
    "get_many": (1, lambda s: s.get_many("a", "n", "missing")),
    "set": (1, lambda s: s.set("a", 2)),
    "set_many": (1, lambda s: s.set_many({"a": 1, "b": 2})),
    "set with an end": (2, lambda s: s.set("a", 2, 60)),
    "inc": (1, lambda s: s.inc("n")),
    "inc a new one": (2, lambda s: s.inc("new")),
    "inc once": (2, lambda s: s.inc("n", once="token")),
    "add": (2, lambda s: s.add("new", 1)),
    "add in vain": (2, lambda s: s.add("a", 1)),
    "delete": (1, lambda s: s.delete("a")),
    "delete in vain": (1, lambda s: s.delete("new")),
    "compare_and_set": (1, lambda s: s.compare_and_set("a", 1, 2)),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_round_trips(state: State, asked: list[str], name: str) -> None:
    """A counter that nobody else changes is one request, and nothing is more than it has to be."""
    expected, operation = ROUND_TRIPS[name]
    state.set("a", 1)
    state.set("n", 1)
    del asked[:]
    operation(state)
    assert len(asked) - asked.count("lease/grant") <= expected
    assert asked.count("lease/grant") <= 1


def test_etcdctl_shows_it(state: State, etcd_member: Cluster) -> None:
    """Values are under readable names, bare, or behind when they end."""
    member = etcd_member.members[0]
    state.inc("n", 41)
    assert member.value("sharedstate/test:n") == b"41"
    state.set("v", {"a": 1})
    assert member.value("sharedstate/test:v") == b'{"a":1}'
    FakeClock(state.store, {})
    state.set("t", 5, 0.25)
    assert member.value("sharedstate/test:t") == b"@1800000000.25 5"


@pytest.mark.parametrize("record", [(b"", NEVER), (b"@", NEVER), (b"@1 a", 7.25), (b"a b", 1.5)])
def test_text(record: tuple[bytes, float]) -> None:
    """Every record comes back as it was, whatever its value begins with."""
    assert from_text(to_text(record)) == record


def test_anothers_value(state: State, etcd_member: Cluster) -> None:
    """What somebody else wrote behind our mark is an error and stays."""
    etcd_member.members[0].ask(
        "kv/put", {"key": "c2hhcmVkc3RhdGUvdGVzdDph", "value": "QGE="}
    )  # sharedstate/test:a, @a
    with pytest.raises(NotSerializable, match="etcd"):
        state.get("a")
    assert state.set("a", 1)
    assert state.get("a") == 1


def test_namespaces(empty_etcd: str, etcd_member: Cluster) -> None:
    """What has another namespace in one cluster is neither seen nor cleared."""
    with etcd_member.state(namespace="one") as one, etcd_member.state(namespace="two") as two:
        one.inc("n")
        two.inc("n", 5)
        two.store.clear(b"")
        assert (one.get("n"), two.get("n")) == (1, None)


def test_large_batches(state: State) -> None:
    """More keys than etcd compares in one step are changed in one step all the same."""
    keys = [f"k{i:04}" for i in range(1000)]
    state.set_many(dict.fromkeys(keys, 1))
    assert state.inc_many(dict.fromkeys(keys, 2)) == dict.fromkeys(keys, 3)
    assert state.delete_many(*keys, "never") == keys
    assert state.keys() == []


@pytest.mark.parametrize("what", ["changed", "removed", "added"])
def test_large_batches_see_others(
    state: State, etcd_member: Cluster, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A change by somebody else between the look and the write of a large batch is not lost."""
    keys = [f"k{i:04}" for i in range(300)]
    state.set_many(dict.fromkeys(keys[:-1], 1))
    read, disturbed = etcd_store.read, []

    def disturb(*arguments: Any) -> Any:
        found = read(*arguments)
        if not disturbed:
            disturbed.append(what)
            with etcd_member.state() as other:
                match what:
                    case "changed":
                        other.inc(keys[7], 10)
                    case "removed":
                        other.delete(keys[7])
                    case "added":
                        other.set(keys[-1], 20)
        return found

    monkeypatch.setattr(etcd_store, "read", disturb)
    results = state.inc_many(dict.fromkeys(keys, 1))
    seen = {"changed": (12, 1), "removed": (1, 1), "added": (2, 21)}[what]
    assert (results[keys[7]], results[keys[-1]]) == seen


def test_revision_of_another(state: State, etcd_member: Cluster) -> None:
    """What this process remembers of a key gives way to what another one wrote."""
    with etcd_member.state() as other:
        assert [state.inc("n"), other.inc("n"), state.inc("n"), other.inc("n")] == [1, 2, 3, 4]
        other.set("n", "text")
        with pytest.raises(TypeError):
            state.inc("n")
        other.set("n", 9)
        assert state.inc("n", maximum=10) == 10


# What ends.


def test_leases_are_shared(state: State, asked: list[str]) -> None:
    """Records that end at about the same time have one lease."""
    state.set("first", 1, 1000)
    for number in range(20):
        state.set(f"k{number}", 1, 1000)
    assert asked.count("lease/grant") <= 3  # One is the writer's; time goes on meanwhile.


def test_lease_goes_with_the_record(state: State, etcd_member: Cluster) -> None:
    """A record keeps its lease when it is counted, and loses it when it is to stay."""

    def lease() -> int:
        found = etcd_member.members[0].ask("kv/range", {"key": "c2hhcmVkc3RhdGUvdGVzdDpu"})
        return int(found["kvs"][0].get("lease", 0))

    state.inc("n", timeout=1000)
    first = lease()
    assert first
    state.inc("n")
    assert lease()
    state.touch("n", 0)
    assert not lease()


def test_lost_leases(state: State, etcd_member: Cluster) -> None:
    """Leases that are revoked while they are remembered are replaced, the writer's too."""
    member = etcd_member.members[0]
    state.set("a", 1, 1000)
    state.inc("n")
    for lease in member.ask("lease/leases", {})["leases"]:
        member.ask("lease/revoke", {"ID": lease["ID"]})
    assert state.get("a") is None
    assert state.inc("n") == 2
    state.set("a", 2, 1000)
    assert state.get("a") == 2


@pytest.mark.parametrize("seconds", [0.5, 10, 1000, 10**6, 10**8])
def test_leases_outlive_records(seconds: float) -> None:
    """A lease ends after its records, wherever in its slot they are, and not long after."""
    granted: list[int] = []

    class Recorded(Leases):
        def grant(self, seconds: int, deadline: float) -> int:
            granted.append(seconds)
            return len(granted)

    for now in range(1_800_000_000, 1_800_000_200, 7):
        leases = Recorded(None)  # type: ignore[arg-type]
        leases.until(now + seconds, now, 0)
        assert seconds < granted[-1] <= seconds * 1.2 + 200
