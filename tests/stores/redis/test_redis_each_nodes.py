"""Operations of several callers on the nodes of a Redis Cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import redis
from redis_steps import Steps, each, store_at

from sharedstate import StoreUnavailable
from sharedstate.stores.operations import (
    Batch,
    Increment,
)
from sharedstate.stores.redis import RedisClusterStore

# A cluster.

NAMES = [b"n%d" % number for number in range(12)]


@pytest.fixture
def cluster(empty_cluster: str) -> Iterator[RedisClusterStore]:
    with closing(store_at(empty_cluster)) as store:
        yield store


@pytest.mark.slow
def test_a_key_that_has_moved(cluster: RedisClusterStore) -> None:
    """What a node refuses as it does not have the slot is done on the one that has."""
    client = cluster.client
    steps: Steps = [([name], Increment(1)) for name in NAMES] * 2
    slots = client.nodes_manager.slots_cache
    nodes = client.get_primaries()
    for name in NAMES:
        slots[client.keyslot(name)] = [nodes[0]]
    assert each(cluster, steps) == [1] * len(NAMES) + [2] * len(NAMES)
    assert each(cluster, steps) == [3] * len(NAMES) + [4] * len(NAMES)


def test_a_node_that_is_down(cluster: RedisClusterStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is on the other nodes is done, and what is on this one is an error each."""
    client = cluster.client
    down = client.get_node_from_key(NAMES[0])
    connection = client.get_redis_connection
    steps: Steps = [([name], Increment(1)) for name in NAMES]
    with redis.Redis(port=1, retry=None) as nowhere:
        monkeypatch.setattr(
            client,
            "get_redis_connection",
            lambda node: nowhere if node == down else connection(node),
        )
        results = each(cluster, steps)
    monkeypatch.undo()
    failed = [result for result in results if isinstance(result, StoreUnavailable)]
    assert 0 < len(failed) < len(NAMES)
    assert not any(error.outcome_unknown for error in failed)
    again = each(cluster, steps)
    assert again == [1 if isinstance(one, StoreUnavailable) else 2 for one in results]


def test_counters_of_several_nodes_are_refused(cluster: RedisClusterStore) -> None:
    """A batch that no node can do in one step is refused, and what stands beside it is done."""
    batch = Batch([(place, Increment(1)) for place in range(len(NAMES))])
    first, refused, second = each(
        cluster, [([b"n0"], Increment(1)), (NAMES, batch), ([b"n0"], Increment(1))]
    )
    assert (first, second) == (1, 2)
    assert type(refused).__name__ == "NotSupported"
