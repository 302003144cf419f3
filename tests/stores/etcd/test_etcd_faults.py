"""Nothing is lost or done twice while a majority of a cluster lives."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from etcd_servers import Cluster, Member, etcd_cluster

from sharedstate import StoreUnavailable

DEADLINE = 60


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
