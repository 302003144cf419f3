"""What only the Redis store promises, on real servers and on ones that misbehave."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from backends import give_up, innermost
from redis_servers import redis_server
from stand_ins import listening

from race.servers.processes import reserved_port
from sharedstate import (
    ABSENT,
    InvalidKey,
    NotACounter,
    NotSerializable,
    State,
    StoreFull,
    StoreUnavailable,
)
from sharedstate.cli.check import check_state
from sharedstate.state import Batch
from sharedstate.stores.guards import breaker
from sharedstate.stores.redis import store as redis_store
from sharedstate.stores.redis.pipeline import Replicas

SECONDS = 30  # Guards against a hang, and nothing else.


def state_at(url: str, **settings: Any) -> State:
    settings = {"CACHE_KEY_PREFIX": "test:", "CACHE_TIMEOUT": SECONDS} | settings
    return State.from_settings({"CACHE_TYPE": "redis", "CACHE_REDIS_URL": url} | settings)


@pytest.fixture
def state(empty_redis: str) -> Iterator[State]:
    state = state_at(empty_redis)
    yield state
    state.close()


@pytest.fixture
def server(empty_redis: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(empty_redis) as server:
        yield server


OPERATIONS: dict[str, Callable[[State], Any]] = {
    "get": lambda s: s.get("a"),
    "set": lambda s: s.set("a", 1, 60),
    "put": lambda s: s.put("a", 1),
    "add": lambda s: s.add("a", 1, 60),
    "exchange": lambda s: s.exchange("a", 1),
    "delete": lambda s: s.delete("b"),
    "has": lambda s: s.has("a"),
    "ttl": lambda s: s.ttl("a"),
    "item": lambda s: s.item("a"),
    "touch": lambda s: s.touch("a", 60),
    "touch for ever": lambda s: s.touch("a", 0),
    "inc": lambda s: s.inc("n"),
    "bounded inc": lambda s: s.inc("n", initial=2, minimum=0, maximum=99, timeout=60),
    "inc once": lambda s: s.inc("n", once="token"),
    "compare_and_set": lambda s: s.compare_and_set("a", 1, 1),
    "get_many": lambda s: s.get_many("a", "b", "n"),
    "set_many": lambda s: s.set_many({"a": 1, "c": 2}, 60),
    "delete_many": lambda s: s.delete_many("x", "y"),
    "inc_many": lambda s: s.inc_many({"n": 1, "m": 2}, maximum=99),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_one_round_trip(
    state: State, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each operation sends once, and Redis does the rest."""
    state.set("a", 1)
    OPERATIONS[name](state)  # Connects, and has the scripts loaded.
    sent = []
    send = redis.connection.AbstractConnection.send_packed_command

    def count(connection: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append(command)
        return send(connection, command, *args, **kwargs)

    monkeypatch.setattr(redis.connection.AbstractConnection, "send_packed_command", count)
    OPERATIONS[name](state)
    assert len(sent) == 1


def test_numbers_are_plain_text(state: State, server: redis.Redis) -> None:
    """What we count, ``redis-cli`` shows as a number and can count on, and the other way round."""
    state.inc("n", 41)
    assert server.get("test:n") == b"41"
    assert server.incr("test:n") == 42
    assert state.get("n") == 42


def test_no_command_that_stops_or_empties_the_server(state: State, server: redis.Redis) -> None:
    """Listing and clearing neither send KEYS nor FLUSHDB, and leave other keys alone."""
    server.config_resetstat()
    server.set("other", 1)
    state.set_many({str(number): number for number in range(3000)})
    assert len(state.keys()) == 3000
    state.clear()
    assert state.keys() == []
    assert server.get("other") == b"1"
    used = set(server.info("commandstats"))
    assert used & {"cmdstat_keys", "cmdstat_flushdb", "cmdstat_flushall"} == set()
    assert "cmdstat_unlink" in used


def test_forgotten_scripts_are_loaded_again(state: State, server: redis.Redis) -> None:
    """A server that lost its scripts, as by a restart, gets them again."""
    assert state.inc("n", initial=5) == 6
    server.script_flush()
    assert state.inc("n", initial=5) == 7


def test_other_types_are_errors_and_stay(state: State, server: redis.Redis) -> None:
    """A list under one of our keys is no value and no counter, and stays a list."""
    server.rpush("test:a", "x")
    for operation in (lambda: state.inc("a"), lambda: state.inc("a", minimum=0)):
        with pytest.raises(NotACounter):
            operation()
    with pytest.raises(NotSerializable):
        state.item("a")
    assert server.lrange("test:a", 0, -1) == [b"x"]


BESIDE_A_LIST: dict[str, tuple[Callable[[Batch], Any], type[Exception]]] = {
    "set": (lambda batch: batch.set("list", 1), NotSerializable),
    "delete": (lambda batch: batch.delete("list"), NotSerializable),
    "read": (lambda batch: batch.item("list"), NotSerializable),
    "inc": (lambda batch: batch.inc("list"), NotACounter),
}


@pytest.mark.parametrize("name", BESIDE_A_LIST)
def test_a_batch_with_another_type_does_nothing(
    state: State, server: redis.Redis, name: str
) -> None:
    """A list under a later key of a batch is found before the first one is written."""
    server.rpush("test:list", "x")
    collect, error = BESIDE_A_LIST[name]
    batch = state.batch()
    batch.inc("a", 5)
    batch.set("b", 1)
    collect(batch)
    with pytest.raises(error) as caught:
        batch.apply()
    assert caught.value.step == 2  # type: ignore[attr-defined]
    assert server.keys("*") == [b"test:list"]
    assert server.lrange("test:list", 0, -1) == [b"x"]


def test_each_of_a_batch_beside_a_list(state: State, server: redis.Redis) -> None:
    """Done each by itself, what meets another type is an error and the others are done."""
    server.rpush("test:list", "x")
    batch = state.batch()
    batch.inc("a", 5)
    batch.item("list")
    batch.inc("b")
    first, second, third = batch.apply_each()
    assert (first, third) == (5, 1)
    assert isinstance(second, NotSerializable)


def test_other_types_in_scripts_change_nothing(state: State, server: redis.Redis) -> None:
    """Neither a token nor its counter changes where one of both is a list."""
    server.rpush("test:list", "x")
    with pytest.raises(NotACounter):
        state.inc("list", once="token")
    with pytest.raises(NotSerializable):
        state.compare_and_set("list", 1, 2)
    assert server.keys("*") == [b"test:list"]
    server.rpush("\0once:test:token", "x")
    with pytest.raises((NotACounter, NotSerializable)):
        state.inc("n", once="token")
    assert state.get("n") is None


def test_a_full_server_is_store_full(state: State, server: redis.Redis) -> None:
    """A server at its ``maxmemory`` refuses a write, keeps what it has, and can be emptied."""
    state.set("a", 1)
    server.config_set("maxmemory", 1)
    try:
        for write in (lambda: state.set("b", 1), lambda: state.inc("a"), lambda: state.add("b", 1)):
            with pytest.raises(StoreFull):
                write()
        assert state.get("a") == 1
        assert state.delete("a")
    finally:
        server.config_set("maxmemory", 0)


READS: dict[str, Callable[[State], Any]] = {
    "get": lambda s: s.get("a"),
    "get_many": lambda s: s.get_many("a", "b", "none"),
    "has": lambda s: (s.has("a"), s.has("none")),
    "ttl": lambda s: (s.ttl("a"), (s.ttl("b") or 0) > 50, s.ttl("none")),
    "item": lambda s: (s.item("a"), s.item("none")),
    "items": lambda s: sorted(item.key for item in s.items()[0]),
    "keys": lambda s: sorted(s.keys()),
    "batch": lambda s: batch_of_reads(s).apply(),
    "records": lambda s: s.store.read([b"test:a", b"test:none", b"test:a"]),
}


def batch_of_reads(state: State) -> Batch:
    batch = state.batch()
    batch.item("a")
    batch.item("none")
    return batch


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_full_server_is_read(
    read: Callable[[State], Any], state: State, server: redis.Redis
) -> None:
    """What reads returns on a server at its ``maxmemory`` what it returned before."""
    state.set("a", 1)
    state.set("b", 2, timeout=60)
    before = read(state)
    assert server.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    server.config_set("maxmemory", 1)
    try:
        server.script_flush()
        assert read(state) == before
        assert read(state) == before
    finally:
        server.config_set("maxmemory", 0)


@contextmanager
def stand_in(behave: Callable[[socket.socket], None], **settings: Any) -> Iterator[State]:
    """A state on a server that treats each connection as ``behave`` does."""
    with listening(behave) as port:
        # By host and port: made from a URL, redis-py's client would not retry anyway.
        state = State.from_settings(
            {
                "CACHE_TYPE": "redis",
                "CACHE_REDIS_HOST": "127.0.0.1",
                "CACHE_REDIS_PORT": port,
                "CACHE_OPTIONS": {"protocol": 2},
                "CACHE_TIMEOUT": SECONDS,
            }
            | settings
        )
        with closing(state):
            yield state


WRITES: dict[str, Callable[[State], Any]] = {
    "set": lambda s: s.set("a", 1),
    "inc": lambda s: s.inc("a"),
    "bounded inc": lambda s: s.inc("a", maximum=5),
    "set_many": lambda s: s.set_many({"a": 1, "b": 2}),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_whose_answer_is_lost_is_not_sent_again(name: str) -> None:
    """A server that dies after it read a write saw it once, and the error says what is unknown."""
    seen: list[bytes] = []

    def die(connection: socket.socket) -> None:
        connection.settimeout(SECONDS)
        while True:
            request = connection.recv(65536)
            if b"CLIENT" not in request:
                break
            connection.sendall(b"+OK\r\n" * request.count(b"CLIENT"))
        if request:
            seen.append(request)

    with stand_in(die) as state, pytest.raises(StoreUnavailable) as caught:
        WRITES[name](state)
    assert caught.value.outcome_unknown
    assert len(seen) == 1


def test_a_server_that_hangs_is_an_error_in_bounded_time() -> None:
    """A server that accepts and never responds raises within ``CACHE_TIMEOUT``."""
    tested = threading.Event()

    def hang(connection: socket.socket) -> None:
        tested.wait()

    with stand_in(hang, CACHE_TIMEOUT=0.1) as state:
        try:
            for operation in (lambda: state.get("a"), lambda: state.inc("a"), state.keys):
                with pytest.raises(StoreUnavailable):
                    operation()
        finally:
            tested.set()


def test_a_server_that_is_down_has_changed_nothing() -> None:
    """Where no connection was made the outcome is known."""
    state = state_at("redis://user:secret@127.0.0.1:1")
    with pytest.raises(StoreUnavailable) as caught:
        state.inc("a")
    assert not caught.value.outcome_unknown
    assert "secret" not in f"{caught.value}{state.store.describe()}"


def test_a_password_is_used_and_not_shown(tmp_path: Path) -> None:
    """A server with a password lets us in with it, and a wrong one is a clear error."""
    with redis_server(tmp_path, "--save", "", "--requirepass", "secret") as server:
        port = server.port  # type: ignore[attr-defined]
        for state in (
            state_at(f"redis://:secret@127.0.0.1:{port}/0"),
            State.from_settings(
                {
                    "CACHE_TYPE": "RedisCache",
                    "CACHE_REDIS_HOST": "127.0.0.1",
                    "CACHE_REDIS_PORT": port,
                    "CACHE_REDIS_PASSWORD": "secret",
                }
            ),
        ):
            assert state.inc("a") == 1
            assert "secret" not in str(state.store.describe())
            state.close()
        wrong = state_at(f"redis://:wrong@127.0.0.1:{port}/0")
        with pytest.raises(StoreUnavailable, match="(?i)password") as caught:
            wrong.inc("a")
        assert not caught.value.outcome_unknown
        wrong.close()


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
@pytest.mark.parametrize("login", ["", ":wrong@", "somebody:secret@"])
def test_a_login_that_fails_names_its_setting(tmp_path: Path, scheme: str, login: str) -> None:
    """Who is not let in reads which setting to correct, and not to start the server."""
    with redis_server(tmp_path, "--save", "", "--requirepass", "secret") as server:
        port = server.port  # type: ignore[attr-defined]
        state = state_at(f"redis://{login}127.0.0.1:{port}")
        if scheme != "redis":
            state = State.from_settings({"CACHE_URL": f"{scheme}://{login}127.0.0.1:{port}"})
        with (
            closing(state),
            pytest.raises(StoreUnavailable, match="CACHE_REDIS_PASSWORD") as caught,
        ):
            state.inc("a")
        assert not caught.value.outcome_unknown
        state.store = state.store._store  # type: ignore[attr-defined]  # without the breaker
        ((_, problem),) = check_state(state)
        state.close()
    assert "CACHE_REDIS_PASSWORD" in problem
    assert "start the store" not in problem


def test_a_user_who_may_not_write(state: State, server: redis.Redis, empty_redis: str) -> None:
    """A user without the right to a command reads so, and nothing has happened."""
    server.acl_setuser(
        "reader", enabled=True, nopass=True, categories=["+@all", "-@write"], keys="*"
    )
    try:
        url = empty_redis.replace("redis://", "redis://reader:x@")
        with closing(state_at(url)) as reader:
            with pytest.raises(StoreUnavailable, match="(?i)permission.*ACL") as caught:
                reader.inc("n")
            assert not caught.value.outcome_unknown
    finally:
        server.acl_deluser("reader")


def test_tls_is_used(tmp_path: Path) -> None:
    """``rediss://`` checks the server's certificate and counts through TLS."""
    if not shutil.which("openssl"):
        give_up("openssl is missing")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    tls = ["--tls-cert-file", certificate, "--tls-key-file", key, "--tls-ca-cert-file", certificate]
    options = ["--save", "", "--tls-auth-clients", "no", *map(str, tls)]
    with (
        reserved_port() as port,
        redis_server(tmp_path, *options, "--tls-port", str(port)),
    ):
        state = state_at(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")
        assert state.inc("a") == 1
        state.close()
        untrusting = state_at(f"rediss://127.0.0.1:{port}")
        with pytest.raises(StoreUnavailable, match="(?i)certificate"):
            untrusting.inc("a")
        untrusting.close()


def test_a_restarted_server_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections to a server that was restarted are noticed before something is sent."""
    monkeypatch.setattr(breaker, "PROBE_SECONDS", 0)
    with reserved_port() as port, closing(state_at(f"redis://127.0.0.1:{port}")) as state:
        with redis_server(tmp_path, "--save", "", port=port):
            assert state.inc("a") == 1
        with pytest.raises(StoreUnavailable):
            state.inc("a")
        with redis_server(tmp_path, "--save", "", port=port):
            assert state.compare_and_set("a", ABSENT, 5)
            assert state.inc("a") == 6


@pytest.mark.parametrize("name", [b"\xff", b"a\xff", b"\xc3"], ids=repr)
def test_a_cursor_names_text(state: State, server: redis.Redis, name: bytes) -> None:
    """A cursor with a key that is no text is refused, even if a stranger put it there."""
    server.set(b"test:" + name, 1)
    with pytest.raises(InvalidKey, match="cursor"):
        state.items(cursor=f"-1:{name.hex()}")
    assert state.inc("n") == 1


def test_a_prefix_without_keys_takes_few_looks(state: State, server: redis.Redis) -> None:
    """A page of one item, of which there is none, is not looked for key by key."""
    server.mset({f"other:{number}": 1 for number in range(20_000)})
    server.config_resetstat()
    assert state.items(limit=1) == ([], None)
    assert server.info("commandstats")["cmdstat_scan"]["calls"] < 50


def test_pages_of_a_rare_prefix(state: State, server: redis.Redis) -> None:
    """Every key is on one page, however many others there are, and cursors stay short."""
    server.mset({f"other:{number}": 1 for number in range(20_000)})
    names = {str(number) for number in range(40)}
    state.set_many(dict.fromkeys(names, 1))
    listed, cursor = [], None
    while True:
        items, cursor = state.items(cursor=cursor, limit=1)
        listed += [item.key for item in items]
        if cursor is None:
            break
        assert len(cursor) < 500
    assert sorted(listed) == sorted(names)


def test_a_page_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk through more keys than there is time for ends early, with where to go on."""
    now = [1000.0]
    looks = 0

    def walk(connection: socket.socket) -> None:
        nonlocal looks
        while looks < 100 and (request := connection.recv(65536)):
            if b"SCAN" in request:
                looks += 1
                now[0] += SECONDS / 10
                connection.sendall(b"*2\r\n$2\r\n17\r\n*0\r\n")
            else:
                connection.sendall(b"+OK\r\n" * request.count(b"CLIENT"))

    monkeypatch.setattr(redis_store, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with stand_in(walk) as state:
        assert state.items(limit=1) == ([], "17")
    assert looks == 6  # Half of the time is for a walk.


def test_a_key_that_is_scanned_twice_is_listed_once() -> None:
    """SCAN may name a key twice, as while its table is resized; a page does not."""

    def repeat(connection: socket.socket) -> None:
        while request := connection.recv(65536):
            if b"SCAN" in request:
                twice = b"$13\r\nflask_cache_a\r\n" * 2
                end = b"0" if b"17" in request else b"17"
                connection.sendall(b"*2\r\n$%d\r\n%b\r\n*2\r\n%b" % (len(end), end, twice))
            else:
                connection.sendall(b"+OK\r\n" * request.count(b"CLIENT"))

    with stand_in(repeat) as state:
        assert state.store.page(b"flask_cache_", None, 2) == ([b"flask_cache_a"], None)


def test_a_cursor_names_each_key_once(state: State) -> None:
    """A forged cursor cannot have one key read a thousand times, in whatever letters."""
    state.set("j", 1)
    for names in ("6a:6a", "6a:6A"):
        with pytest.raises(InvalidKey, match="cursor"):
            state.items(cursor=f"-1:{names}", limit=1000)
    assert [item.key for item in state.items(cursor="-1:6a")[0]] == ["j"]


def test_what_is_none_of_ours_is_not_listed(state: State, server: redis.Redis) -> None:
    """A key whose name is no text, or that holds another type, does not block the listing."""
    state.set_many({str(number): number for number in range(50)})
    for number in range(50):
        server.set(b"test:\xff%d" % number, 1)
        server.rpush(f"test:list{number}", 1)
    assert len(state.keys()) == 50
    listed, cursor = [], None
    while True:
        items, cursor = state.items(cursor=cursor, limit=3)
        listed += [item.value for item in items]
        if cursor is None:
            break
    assert sorted(listed) == list(range(50))
    state.clear()
    assert server.dbsize() == 0


def test_too_few_replicas_are_an_error(empty_redis: str) -> None:
    """A write that not enough replicas have is an error which says that it may be applied."""
    state = state_at(empty_redis, CACHE_REDIS_WAIT=1)
    store = innermost(state.store)
    assert store._replicas == Replicas(1, SECONDS * 500)
    store._replicas = Replicas(1, 50)
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas") as caught:
        state.inc("n")
    assert caught.value.outcome_unknown
    state.close()

    def one_replica(connection: socket.socket) -> None:
        while request := connection.recv(65536):
            if b"CLIENT" in request:
                connection.sendall(b"+OK\r\n" * request.count(b"CLIENT"))
            else:
                connection.sendall(b":1\r\n")

    with (
        stand_in(one_replica, CACHE_REDIS_WAIT=2) as state,
        pytest.raises(StoreUnavailable, match="1 of 2") as caught,
    ):
        state.inc("n")
    assert caught.value.outcome_unknown
    with stand_in(one_replica, CACHE_REDIS_WAIT=1) as state:
        assert state.inc("n") == 1


def test_a_write_that_is_not_answered_in_time_may_be_applied() -> None:
    """After a time-out the outcome of a write is unknown, and a read has none."""
    tested = threading.Event()

    def hang(connection: socket.socket) -> None:
        while request := connection.recv(65536):
            if b"CLIENT" in request:
                connection.sendall(b"+OK\r\n" * request.count(b"CLIENT"))
            elif b"PING" in request:
                connection.sendall(b"+PONG\r\n")
            else:
                tested.wait()
                return

    for operation, unknown in ((lambda s: s.inc("a"), True), (lambda s: s.get("a"), False)):
        with stand_in(hang) as state:
            state.store.ping()
            [connection] = innermost(state.store).client.connection_pool._available_connections
            connection._sock.settimeout(0.1)
            try:
                with pytest.raises(StoreUnavailable) as caught:
                    operation(state)
                assert caught.value.outcome_unknown is unknown
            finally:
                tested.set()
        tested.clear()


KEYS = [f"k{number}" for number in range(20)]
READS: dict[str, Callable[[State], list[Any]]] = {
    "get_many": lambda s: s.get_many(*KEYS),
    "read": lambda s: [
        record[0] for record in s.store.read([s.keyspace.key(k) for k in KEYS]) if record
    ],
    "batch": lambda s: [item.value for item in _items_in_a_batch(s)],
}


def _items_in_a_batch(state: State) -> list[Any]:
    batch = state.batch()
    for key in KEYS:
        batch.item(key)
    return batch.apply()


@pytest.mark.parametrize("name", READS)
def test_many_keys_are_read_at_one_moment(server: redis.Redis, name: str) -> None:
    """Whatever is written while the request arrives piece by piece, all values are of one time."""
    address = server.connection_pool.connection_kwargs
    number = 0

    def write() -> None:
        nonlocal number
        number += 1
        server.mset({f"test:{key}": number for key in KEYS})

    def relay(client: socket.socket) -> None:
        with socket.create_connection((address["host"], address["port"])) as real:
            back = threading.Thread(target=_pass_on, args=(real, client))
            back.start()
            while data := client.recv(65536):
                for start in range(0, len(data), 40):
                    real.sendall(data[start : start + 40])
                    write()
            real.shutdown(socket.SHUT_WR)
            back.join()

    write()
    options = {"CACHE_REDIS_DB": address["db"], "CACHE_KEY_PREFIX": "test:"}
    with stand_in(relay, **options) as state:
        READS[name](state)  # Connects, and has the scripts loaded.
        assert len(set(READS[name](state))) == 1


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
