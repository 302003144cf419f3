"""What Sentinels, replicas and clusters add to a Redis store, and what they cannot do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from backends import innermost
from flask import Flask
from redis_servers import redis_server, watched_master

from sharedstate import (
    Cache,
    ConfigurationError,
    NotACounter,
    NotSupported,
    State,
    StoreUnavailable,
    TokenReused,
)
from sharedstate.cli.backup import backup, restore
from sharedstate.stores.guards import breaker
from sharedstate.stores.redis.pipeline import Replicas

PATIENCE = 60


def state_at(url: str, **settings: object) -> State:
    settings = {"CACHE_KEY_PREFIX": "test:", "CACHE_TIMEOUT": 30} | settings
    return State.from_settings({"CACHE_URL": url} | settings)


@pytest.fixture
def cluster(empty_cluster: str) -> Iterator[State]:
    state = state_at(empty_cluster)
    yield state
    state.close()


@pytest.mark.slow
def test_after_a_fail_over_the_new_master_is_used(tmp_path: Path) -> None:
    """The Sentinel's new master is found without a restart, with what was replicated to it."""
    with watched_master(tmp_path) as (url, (master, replica, _)):
        state = state_at(url, CACHE_REDIS_WAIT=1, CACHE_TIMEOUT=5)
        assert [state.inc("n") for _ in range(5)] == [1, 2, 3, 4, 5]
        innermost(state.store)._replicas = None
        master.kill()
        with pytest.raises(StoreUnavailable):
            state.inc("n")
        for _ in range(PATIENCE * 20):
            try:
                number = state.inc("n")
                break
            except StoreUnavailable:
                threading.Event().wait(0.05)
        assert number > 5
        assert replica.ask("PING")
        state.close()


@pytest.mark.slow
def test_a_write_waits_for_its_replicas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``CACHE_REDIS_WAIT`` a response means that so many replicas have the write."""
    monkeypatch.setattr(breaker, "PROBE_SECONDS", 0)
    with watched_master(tmp_path) as (url, (_, replica, _)):
        state = state_at(url, CACHE_REDIS_WAIT=1)
        assert state.inc("n") == 1
        assert state.set("a", 1)
        replica.kill()
        innermost(state.store)._replicas = Replicas(1, 50)
        for write in (lambda: state.inc("n"), lambda: state.inc("n", maximum=9)):
            with pytest.raises(StoreUnavailable, match="0 of 1 replicas") as caught:
                write()
            assert caught.value.outcome_unknown
        assert state.get("n") == 3
        state.close()


@pytest.mark.slow
def test_counters_with_one_hash_tag_change_together(cluster: State) -> None:
    """What is on one node is changed in one step, as on one server."""
    assert cluster.inc_many({"{cart}a": 1, "{cart}b": 2}) == {"{cart}a": 1, "{cart}b": 2}
    assert cluster.get_many("{cart}a", "{cart}b") == [1, 2]


def test_a_batch_on_one_node_with_another_type_does_nothing(cluster: State) -> None:
    """In a cluster, too, a list under a later key leaves the first one alone."""
    client = cluster.store._store._open()  # type: ignore[attr-defined]
    client.rpush("test:{cart}list", "x")
    with pytest.raises(NotACounter) as caught:
        cluster.inc_many({"{cart}a": 1, "{cart}list": 2})
    assert caught.value.step == 1
    assert cluster.get("{cart}a") is None


def test_counters_on_different_nodes_do_not(cluster: State) -> None:
    """What cannot be done in one step is refused, with the way out, and nothing changes."""
    names = [f"n{number}" for number in range(20)]
    with pytest.raises(NotSupported, match="hash tag"):
        cluster.inc_many(dict.fromkeys(names, 1))
    assert cluster.keys() == []


def test_a_batch_on_different_nodes_is_refused(cluster: State) -> None:
    """Neither is a batch without a counter applied by parts; by itself each of it is done."""
    batch = cluster.batch()
    for number in range(20):
        batch.set(f"n{number}", number)
    with pytest.raises(NotSupported, match="hash tag"):
        batch.apply()
    assert cluster.keys() == []
    assert batch.apply_each() == [True] * 20
    assert len(cluster.keys()) == 20


def test_many_keys_go_node_by_node(cluster: State) -> None:
    """Setting, reading, listing and removing work for keys on all nodes."""
    values = {f"k{number}": number for number in range(200)}
    assert cluster.set_many(values) == list(values)
    assert cluster.get_many(*values) == list(values.values())
    assert sorted(cluster.keys()) == sorted(values)
    listed, cursor = [], None
    while True:
        items, cursor = cluster.items(cursor=cursor, limit=30)
        listed += [item.key for item in items]
        assert len(items) <= 30
        if cursor is None:
            break
    assert sorted(listed) == sorted(values)
    assert sorted(cluster.delete_many("k1", "k2", "none")) == ["k1", "k2"]
    cluster.clear()
    assert cluster.keys() == []


@pytest.mark.parametrize("key", ["n", "{tag}n", "a}b", "{}x", "}{", "ü"])
def test_a_token_is_kept_beside_its_counter(cluster: State, key: str) -> None:
    """``once`` works for whatever the key looks like, in one step with the increment."""
    assert [cluster.inc(key, 5, once="token") for _ in range(3)] == [5, 5, 5]
    with pytest.raises(TokenReused):
        cluster.inc(key, 6, once="token")
    assert cluster.get(key) == 5


def test_a_backup_of_a_cluster_has_its_tokens(cluster: State, tmp_path: Path) -> None:
    """A token counts once before and after its records are restored in the place of others."""
    assert cluster.inc("hits", 5, once="token") == 5
    assert backup(cluster, tmp_path / "backup") == 2
    cluster.inc("hits", once="later")
    assert restore(cluster, tmp_path / "backup", overwrite=True, trust_pickle=True) == 2
    assert cluster.inc("hits", 5, once="token") == 5
    assert cluster.inc("hits", once="later") == 6


def test_waiting_for_replicas_is_not_for_clusters() -> None:
    """A setting that a cluster cannot honour is refused when the application is made."""
    app = Flask(__name__)
    app.config.update(CACHE_URL="redis+cluster://127.0.0.1:1", CACHE_REDIS_WAIT=1)
    with pytest.raises(ConfigurationError, match="CACHE_REDIS_WAIT.*leave it out"):
        Cache(app)


@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://h:1", "redis+sentinel:///m", "redis+cluster://", "redis+cluster://h:x"],
)
def test_an_incomplete_address_says_what_is_missing(url: str) -> None:
    """A URL without hosts, master or a numeric port is refused with how it should look."""
    with pytest.raises(ConfigurationError, match=r"redis\+|host:port"):
        state_at(url)


def test_passwords_are_not_shown() -> None:
    """Neither Sentinel's nor the cluster's address shows what is secret in its URL."""
    for url in ("redis+sentinel://u:secret@h:1/m", "redis+cluster://u:secret@h:1"):
        assert "secret" not in str(state_at(url).store.describe())


def test_sentinels_that_name_no_master(tmp_path: Path) -> None:
    """Whether they are down, locked or know none: a short sentence, and the outcome is known."""

    def message(url: str, **settings: object) -> str:
        with closing(state_at(url, **settings)) as state:
            with pytest.raises(StoreUnavailable) as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
            assert len(str(caught.value)) < 200
            return str(caught.value)

    assert "responded" in message("redis+sentinel://127.0.0.1:1,127.0.0.1:2/m")
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text("requirepass secret\n")
    with redis_server(tmp_path, str(configuration), "--sentinel") as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.port}/m"
        assert "CACHE_REDIS_SENTINEL_PASSWORD" in message(url)
        assert "CACHE_REDIS_SENTINEL_PASSWORD" in message(url, CACHE_REDIS_SENTINEL_PASSWORD="x")
        assert "no master" in message(url, CACHE_REDIS_SENTINEL_PASSWORD="secret")


def test_flask_cachings_settings_lead_to_sentinels(sentinel_url: str) -> None:
    """``RedisSentinelCache`` with its own keys reaches the same master as the URL."""
    address = sentinel_url.partition("//")[2].partition("/")[0].split(":")
    state = State.from_settings(
        {
            "CACHE_TYPE": "RedisSentinelCache",
            "CACHE_REDIS_SENTINELS": [(address[0], int(address[1]))],
            "CACHE_REDIS_SENTINEL_MASTER": sentinel_url.rpartition("/")[2],
            "CACHE_KEY_PREFIX": "same:",
        }
    )
    other = state_at(sentinel_url, CACHE_KEY_PREFIX="same:")
    assert state.inc("n") == 1
    assert other.inc("n") == 2
    other.clear()
    state.close()
    other.close()


def test_a_server_of_another_kind_is_said_so(tmp_path: Path) -> None:
    """A plain server is no Sentinel and no cluster, which is an error and not a hang."""
    with redis_server(tmp_path, "--save", "") as server:
        for url in ("redis+sentinel://127.0.0.1:{}/m", "redis+cluster://127.0.0.1:{}"):
            with pytest.raises(StoreUnavailable):
                state_at(url.format(server.port)).inc("n")
