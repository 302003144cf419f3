"""What only the etcd store promises: nothing is lost or done twice while a majority lives."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from backends import FakeClock, program
from etcd_servers import Cluster, Member, etcd_cluster

from sharedstate import ConfigurationError, NotSerializable, State, StoreUnavailable
from sharedstate.stores.etcd import host_lock, known
from sharedstate.stores.etcd import store as etcd_store
from sharedstate.stores.etcd.errors import Again
from sharedstate.stores.etcd.known import Note
from sharedstate.stores.etcd.leases import Leases
from sharedstate.stores.etcd.members import Login, Members
from sharedstate.stores.etcd.messages import Found, from_text, to_text
from sharedstate.stores.etcd.store import EtcdStore
from sharedstate.stores.operations import NEVER
from sharedstate.stores.registry import open_store
from sharedstate.stores.support import file_lock
from sharedstate.stores.support.file_lock import FileLock

DEADLINE = 60


@pytest.fixture
def state(empty_etcd: str, etcd_member: Cluster) -> Iterator[State]:
    with etcd_member.state() as state:
        yield state


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all requests from now on, as they are sent."""
    paths: list[str] = []
    post = Members._post

    def count(self: Members, number: int, path: str, *arguments: Any) -> Any:
        paths.append(path)
        return post(self, number, path, *arguments)

    monkeypatch.setattr(Members, "_post", count)
    return paths


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


# Where it leads.


@pytest.mark.parametrize(
    "url, location",
    [
        ("etcd://a", "etcd://a:2379/sharedstate"),
        ("etcd://a:1,b:2,[::1]:3", "etcd://a:1,b:2,[::1]:3/sharedstate"),
        ("etcds://user:secret@a/app", "etcds://a:2379/app"),
    ],
)
def test_urls(url: str, location: str) -> None:
    """A URL names the members, a namespace, and a login that is not shown."""
    assert open_store({"CACHE_URL": url}).describe()["location"] == location


def test_bad_options(tmp_path: Path) -> None:
    """What TLS is not told, or cannot read, is refused when the application is made."""
    for options in ({"verify": False}, {"ca_certs": str(tmp_path / "missing")}, {"cert_file": 5}):
        with pytest.raises(ConfigurationError, match="CACHE_OPTIONS"):
            open_store({"CACHE_URL": "etcds://a", "CACHE_OPTIONS": options})


@pytest.mark.parametrize("url", ["etcd://", "etcd://user@a", "etcd://a:99999", "etcd://a/b@c"])
def test_bad_urls(url: str) -> None:
    """What could be read in two ways is refused when the application is made."""
    with pytest.raises(ConfigurationError):
        open_store({"CACHE_URL": url})


def test_nobody_there() -> None:
    """Members that refuse connections are reported at once, and nothing was applied."""
    store = EtcdStore([("127.0.0.1", 1), ("127.0.0.1", 2)])
    with pytest.raises(StoreUnavailable, match="127.0.0.1:1,127.0.0.1:2") as caught:
        State(store).inc("n")
    assert not caught.value.outcome_unknown


# Under faults.


class Load:
    """Threads that count on one key until they are told to stop, each through its own store."""

    def __init__(self, cluster: Cluster, threads: int = 4) -> None:
        self.acknowledged: list[int] = []
        self.unknown = 0
        self._cluster = cluster
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._count) for _ in range(threads)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        self.wait_for(50)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def wait_for(self, more: int) -> float:
        """Wait until so many more were counted; returns the seconds that it took."""
        began = time.monotonic()
        goal = len(self.acknowledged) + more
        while len(self.acknowledged) < goal:
            assert time.monotonic() < began + DEADLINE, "it does not count any more"
            self._stop.wait(0.01)
        return time.monotonic() - began

    def check(self, end: int) -> None:
        """No number twice, none lost of those acknowledged, and nothing else counted."""
        assert len(set(self.acknowledged)) == len(self.acknowledged)
        assert max(self.acknowledged) <= end
        assert len(self.acknowledged) <= end <= len(self.acknowledged) + self.unknown

    def _count(self) -> None:
        with self._cluster.state(timeout=2) as state:
            while not self._stop.is_set():
                try:
                    number = state.inc("n")
                except StoreUnavailable as error:
                    with self._lock:
                        self.unknown += error.outcome_unknown
                else:
                    self.acknowledged.append(number)


TIMES = ("--election-timeout", "500", "--heartbeat-interval", "50")


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    """A cluster of which each test leaves all members running."""
    with etcd_cluster(*TIMES) as made:
        yield made


@pytest.fixture(scope="module")
def parted() -> Iterator[Cluster]:
    """Another one, whose members can be cut off."""
    with etcd_cluster(*TIMES, by_ways=True) as made:
        yield made


@pytest.fixture
def cluster(three: Cluster) -> Cluster:
    with three.state() as state:
        state.clear()
    return three


FAULTS: dict[str, tuple[Callable[[Member], None], Callable[[Member], None]]] = {
    "killed": (Member.kill, Member.start),
    "stopped": (
        lambda member: member.signal(signal.SIGSTOP),
        lambda member: member.signal(signal.SIGCONT),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["leader", "follower"])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_member_fails(cluster: Cluster, fault: str, whom: str) -> None:
    """While a member is away and when it is back, numbers are given once and none is lost."""
    begin, end = FAULTS[fault]
    leader = cluster.leader()
    others = [member for member in cluster.members if member is not leader]
    member = leader if whom == "leader" else others[0]
    with Load(cluster) as load:
        begin(member)
        load.wait_for(100)
        end(member)
        load.wait_for(100)
    with cluster.state() as state:
        load.check(state.get("n"))


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["leader", "follower"])
def test_one_member_is_cut_off(parted: Cluster, whom: str) -> None:
    """A member that the others cannot reach, but clients can, gives no number and loses none."""
    with parted.state() as state:
        state.clear()
    leader = parted.leader()
    others = [member for member in parted.members if member is not leader]
    member = leader if whom == "leader" else others[0]
    with Load(parted) as load:
        parted.cut_off(member)
        load.wait_for(100)
        with pytest.raises(OSError):  # No majority, no response.
            member.ask("kv/range", {"key": "YQ=="}, seconds=0.5)
        parted.mend()
        load.wait_for(100)
    with parted.state() as state:
        load.check(state.get("n"))


@pytest.mark.slow
def test_majority_fails(cluster: Cluster) -> None:
    """Without a majority calls fail in time, and with one again nothing is lost."""
    with Load(cluster) as load:
        for member in cluster.members[:2]:
            member.signal(signal.SIGSTOP)
        with cluster.state(timeout=1) as state:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                state.inc("other")
            with pytest.raises(StoreUnavailable):
                state.get("n")
            assert time.monotonic() - began < DEADLINE
        for member in cluster.members[:2]:
            member.signal(signal.SIGCONT)
        load.wait_for(100)
    with cluster.state() as state:
        load.check(state.get("n"))


@pytest.mark.slow
def test_cluster_restarts(cluster: Cluster) -> None:
    """After all members were killed the same store goes on where it was."""
    with cluster.state() as state:
        assert state.inc("n", 41) == 41
        for member in cluster.members:
            member.kill()
        with pytest.raises(StoreUnavailable):
            state.get("n")
        for member in cluster.members:
            member.start()
        cluster.wait()
        assert state.inc("n") == 42


# Requests that are lost, or come late.


class Losing:
    """Sends requests and loses the replies to some; keeps those requests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost: list[tuple[Any, ...]] = []
        self.lose_before = 0
        self.lose_after = 0
        self.post = post = Members._post

        def lose(members: Members, *arguments: Any) -> Any:
            if arguments[1] == "kv/txn":
                if self.lose_before:
                    self.lose_before -= 1
                    self.lost.append((members, *arguments))
                    raise Again("it did not arrive yet", may_be_applied=True)
                if self.lose_after:
                    self.lose_after -= 1
                    post(members, *arguments)
                    raise Again("the reply was lost", may_be_applied=True)
            return post(members, *arguments)

        monkeypatch.setattr(Members, "_post", lose)

    def deliver(self) -> None:
        """Let what was lost before it arrived arrive now."""
        for members, number, path, body, headers, _ in self.lost:
            with suppress(StoreUnavailable):
                self.post(members, number, path, body, headers, time.monotonic() + 10)


@pytest.fixture
def losing(state: State, monkeypatch: pytest.MonkeyPatch) -> Losing:
    state.inc("n")
    state.set("a", 1)
    return Losing(monkeypatch)


def test_lost_replies(state: State, losing: Losing) -> None:
    """A write whose reply was lost was applied once, and its result is known."""
    losing.lose_after = 1
    assert state.inc("n") == 2
    losing.lose_after = 2
    assert state.inc("n") == 3
    losing.lose_after = 1
    assert state.delete("a") is True
    losing.lose_after = 1
    assert state.set("b", 5) is True
    assert state.get_many("n", "a", "b") == [3, None, 5]


def test_late_requests(state: State, losing: Losing) -> None:
    """A request that arrives when it was sent once more and done changes nothing."""
    losing.lose_before = 1
    assert state.inc("n") == 2
    losing.lose_before = 1
    assert state.add("new", 1) is True
    state.delete("new")
    losing.lose_before = 1
    assert state.set("a", 5) is True
    state.set("a", 6)
    losing.deliver()
    assert len(losing.lost) == 3
    assert state.get_many("n", "new", "a") == [2, None, 6]


def test_late_and_refused(
    state: State, losing: Losing, etcd_member: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late request is void too where somebody else was faster, and has gone since."""
    read = etcd_store.read

    def be_faster(*arguments: Any) -> Any:
        found = read(*arguments)
        monkeypatch.setattr(etcd_store, "read", read)
        with etcd_member.state() as other:
            other.set("new", "another's")
        losing.lose_before = 1
        return found

    monkeypatch.setattr(etcd_store, "read", be_faster)
    assert state.add("new", 1) is False
    with etcd_member.state() as other:
        other.delete("new")
    losing.deliver()
    assert len(losing.lost) == 1
    assert state.get("new") is None


# Who may.


@pytest.mark.slow
def test_login() -> None:
    """A user gets in, also after its token has ended; others are told what to do."""
    with etcd_cluster("--auth-token-ttl", "1", size=1) as cluster:
        member = cluster.members[0]
        names = {"name": "root", "password": "s3cret"}
        member.ask("auth/user/add", names)
        member.ask("auth/role/add", {"name": "root"})
        member.ask("auth/user/grant", {"user": "root", "role": "root"})
        member.ask("auth/enable", {})
        with cluster.state() as nobody, pytest.raises(ConfigurationError, match="user"):
            nobody.inc("n")
        with cluster.state(login=Login("root", "wrong")) as stranger:
            with pytest.raises(ConfigurationError, match="password"):
                stranger.inc("n")
        with cluster.state(login=Login("root", "s3cret")) as state:
            assert state.inc("n") == 1
            state.store._members._token = "ended.1"
            assert state.inc("n") == 2
            assert state.store.measure()["entries"] == 1


@pytest.mark.slow
def test_tls(tmp_path: Path) -> None:
    """Members are reached by ``etcds://`` if their certificate is trusted."""
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subprocess.run(
        [
            *(program("openssl"), "req", "-x509", "-nodes", "-days", "2"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    with etcd_cluster(size=1, tls=(certificate, key)) as cluster:
        url = cluster.url.replace("etcd:", "etcds:")
        trusting = {"CACHE_URL": url, "CACHE_OPTIONS": {"ca_certs": certificate}}
        with closing(State(open_store(trusting))) as state:
            assert state.inc("n") == 1
        with closing(State(open_store({"CACHE_URL": url}))) as state:
            with pytest.raises(StoreUnavailable, match="CERTIFICATE") as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
