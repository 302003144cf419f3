"""Signed pickles: what others have written to a store in the network runs no code here."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from backends import BACKENDS, Backend
from flask import Flask

from sharedstate import Cache, ConfigurationError, NotSerializable
from sharedstate.codec import PickleCodec, SignedPickleCodec, codec_from
from sharedstate.stores.operations import Put

IN_THE_NETWORK = pytest.mark.on(*(each.id for each in BACKENDS if each.scope == "network"))
ON_A_SERVER = pytest.mark.on("redis")

OLD, NEW = "the old key", "the new key"


class Bomb:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[bytes]:
    """The bytes of a bomb, which has not gone off when the test ends."""
    yield PickleCodec().encode(Bomb(tmp_path / "exploded"))
    assert not (tmp_path / "exploded").exists()


@pytest.fixture
def opened(cache_settings: Mapping[str, Any], backend: Backend) -> Iterator[Any]:
    """Opens the store of the test for an application with the settings that are given."""
    states = []

    def open_cache(**settings: Any) -> Cache:
        app = Flask(__name__)
        app.config.update(cache_settings, CACHE_KEY_PREFIX=backend.prefix)
        app.config.update(settings)
        cache = Cache(app)
        states.append(cache.state)
        return cache

    yield open_cache
    for state in states:
        state.close()


def put(cache: Cache, key: str, raw: bytes, timeout: float = 0) -> None:
    """Write bytes to the store, as anybody can who reaches it."""
    state = cache.state
    state.store.transact((state.keyspace.key(key),), Put(raw, timeout))


def raw(cache: Cache, key: str) -> bytes | None:
    state = cache.state
    return state.store.values((state.keyspace.key(key),))[0]


def run(cache: Cache, *arguments: str, stdin: str | None = None) -> Any:
    return cache.app.test_cli_runner().invoke(args=["state", *arguments], input=stdin)


class TestCodec:
    def test_round_trip(self) -> None:
        """Any picklable object comes back, and an integer is plain text."""
        codec = SignedPickleCodec({"SECRET_KEY": OLD})
        for value in (None, "text", b"", {1, 2}, ValueError, [1.5, {"a": (1,)}], True):
            assert codec.decode(codec.encode(value)) == value
        assert codec.encode(-42) == b"-42"
        assert codec.decode(b"-42") == -42

    def test_every_byte_counts(self, bomb: bytes) -> None:
        """A signed value in which any byte was changed, or that was cut short, is refused."""
        codec = SignedPickleCodec({"SECRET_KEY": OLD})
        signed = codec.sign(bomb)
        for position in range(1, len(signed)):
            changed = bytearray(signed)
            changed[position] ^= 1
            for forged in (bytes(changed), signed[:position]):
                with pytest.raises(NotSerializable, match="SECRET_KEY_FALLBACKS"):
                    codec.decode(forged)

    @pytest.mark.parametrize("size", [0, 1000, 100_000])
    def test_changed_after_it_was_read(self, size: int) -> None:
        """That a value was read says nothing of another one, however long it is."""
        codec = SignedPickleCodec({"SECRET_KEY": OLD})
        signed = codec.encode("a" * size)
        assert codec.decode(signed) == codec.decode(signed) == "a" * size
        for _ in range(2):
            with pytest.raises(NotSerializable):
                codec.decode(signed[:-2] + b"x.")

    def test_equal_values_have_equal_bytes(self) -> None:
        """The signature depends on nothing but the key and the value."""
        one, other = (SignedPickleCodec({"SECRET_KEY": key}) for key in (OLD, OLD.encode()))
        assert one.encode("x") == other.encode("x")
        assert one.encode("x") != SignedPickleCodec({"SECRET_KEY": NEW}).encode("x")

    def test_rotation(self) -> None:
        """What a key in SECRET_KEY_FALLBACKS has signed is read; the present key signs."""
        secrets: dict[str, Any] = {"SECRET_KEY": OLD}
        codec = SignedPickleCodec(secrets)
        old = codec.encode("x")
        secrets.update(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=["another", OLD])
        assert codec.decode(old) == "x"
        assert codec.encode("x") == SignedPickleCodec({"SECRET_KEY": NEW}).encode("x") != old
        secrets["SECRET_KEY_FALLBACKS"] = None
        with pytest.raises(NotSerializable, match="SECRET_KEY_FALLBACKS"):
            codec.decode(old)

    def test_no_key(self, caplog: pytest.LogCaptureFixture) -> None:
        """Without a SECRET_KEY the log says once that nothing is signed; a counter needs none."""
        codec = SignedPickleCodec({"SECRET_KEY": ""})
        assert codec.decode(codec.encode(5)) == 5
        assert not caplog.records
        assert codec.encode("x") == PickleCodec().encode("x")
        assert codec.decode(codec.encode("x")) == "x"
        (record,) = caplog.records
        assert record.levelno == logging.ERROR
        assert "SECRET_KEY" in record.getMessage()
        assert codec.name == "pickle"

    def test_signed_and_no_key(self) -> None:
        """What is signed is not read without a key."""
        signed = SignedPickleCodec({"SECRET_KEY": OLD}).encode("x")
        with pytest.raises(NotSerializable, match="no SECRET_KEY"):
            SignedPickleCodec({}).decode(signed)

    def test_asked_for(self) -> None:
        """Who asks for signed pickles gets no others: a missing or wrong key is an error."""
        codec = codec_from({"CACHE_CODEC": "signed-pickle"})
        with pytest.raises(ConfigurationError, match="no SECRET_KEY"):
            codec.encode("x")
        codec = codec_from({"CACHE_CODEC": "signed-pickle", "SECRET_KEY": 5})
        with pytest.raises(ConfigurationError, match="text or bytes"):
            codec.encode("x")

    def test_chosen(self) -> None:
        """Pickles are signed on a store in the network, and on another one if asked for."""
        secrets = {"SECRET_KEY": OLD}
        assert codec_from({}, "network", secrets).name == "signed-pickle"
        assert codec_from({}, "host", secrets).name == "pickle"
        assert codec_from({"CACHE_CODEC": "pickle"}, "network", secrets).name == "pickle"
        assert codec_from({"CACHE_CODEC": "json"}, "network", secrets).name == "json"
        assert codec_from({"CACHE_CODEC": "signed-pickle"}, "host", secrets).signs


@IN_THE_NETWORK
class TestInTheNetwork:
    def test_forged(self, opened: Any, bomb: bytes) -> None:
        """A pickle that others have written is refused, by key and remedy, before it runs."""
        cache = opened(SECRET_KEY=NEW)
        forged = (bomb, SignedPickleCodec({"SECRET_KEY": "a guess"}).sign(bomb))
        for value, remedy in zip(forged, ("resign", "SECRET_KEY_FALLBACKS"), strict=True):
            for read in (
                cache.get,
                cache.get_many,
                cache.item,
                lambda key: cache.update(key, lambda old: old),
                lambda key: cache.compare_and_set(key, 1, 2),
            ):
                put(cache, "key", value)
                with pytest.raises(NotSerializable, match=f"'key'.*{remedy}"):
                    read("key")

    def test_control(self, opened: Any, tmp_path: Path) -> None:
        """The same pickle does run with CACHE_CODEC="pickle": the test above can fail."""
        cache = opened(SECRET_KEY=NEW, CACHE_CODEC="pickle")
        put(cache, "key", PickleCodec().encode(Bomb(tmp_path / "exploded")))
        cache.get("key")
        assert (tmp_path / "exploded").exists()

    def test_own(self, opened: Any) -> None:
        """Another application with the same key reads what this one writes; counters are text."""
        one, other = opened(SECRET_KEY=NEW), opened(SECRET_KEY=NEW)
        one.set("value", {1, 2})
        one.set("counter", 5)
        assert other.get("value") == {1, 2}
        assert other.inc("counter") == 6
        assert (raw(one, "counter") or b"").strip() == b"6"
        assert (raw(one, "value") or b"").startswith(b"$")
        assert other.update("value", lambda value: value | {3}) == {1, 2, 3}
        assert other.compare_and_set("value", {1, 2, 3}, "done")

    def test_late_key(self, opened: Any) -> None:
        """The key is that of the application when it is needed: it may be set after the Cache."""
        cache = opened()
        cache.app.secret_key = NEW
        cache.set("value", "x")
        assert opened(SECRET_KEY=NEW).get("value") == "x"


@ON_A_SERVER
class TestOnAServer:
    def test_cached_results(self, opened: Any, bomb: bytes) -> None:
        """What decorators store is signed too, and a forged result is computed again."""
        cache = opened(SECRET_KEY=NEW)
        numbers = count(1)
        memoized = cache.memoize()(lambda: [next(numbers)])
        with cache.app.app_context():
            assert [memoized(), memoized()] == [[1], [1]]
            key = memoized.make_cache_key(memoized.uncached)
            results = cache.cache.results
            (stored,) = results.store.values((results.keyspace.key(key),))
            assert stored.startswith(b"$")
            results.store.transact((results.keyspace.key(key),), Put(bomb, 0))
            assert memoized() == [2]

    def test_listing(self, opened: Any, bomb: bytes) -> None:
        """In a listing a forged value is an item with an error, among the others."""
        cache = opened(SECRET_KEY=NEW)
        cache.set("a", "x")
        put(cache, "b", bomb)
        items, _ = cache.items()
        assert sorted((item.key, item.error is None) for item in items) == [
            ("a", True),
            ("b", False),
        ]

    def test_locks(self, opened: Any) -> None:
        """Waiters for a lock pass it on amid a rotation, whatever key each of them has."""
        old = opened(SECRET_KEY=OLD)
        new = opened(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=[OLD])
        space = old.state.namespace("lock").keyspace
        place = (space.key("lock"),)
        held = old.lock("lock").acquire()
        alone = space.store.values(place)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(new.state.lock("lock", wait=60).acquire)
            deadline = time.monotonic() + 60
            while space.store.values(place) == alone and time.monotonic() < deadline:
                time.sleep(0.01)
            is_in_the_queue = space.store.values(place) != alone
            held.release()
            waiting.result().release()
        assert is_in_the_queue
        assert space.store.values(place) == [None]

    def test_serializer(self, opened: Any) -> None:
        """Flask-Caching's serializer setting means what it meant."""
        from cachelib.serializers import JSONSerializer

        cache = opened(SECRET_KEY=NEW)
        cache.cache.serializer = JSONSerializer()
        cache.set("a", ["x"])
        assert raw(cache, "a") == b'!["x"]'


@ON_A_SERVER
class TestResign:
    def test_after_a_rotation(self, opened: Any) -> None:
        """Every pickle gets a signature of the present key; expiries and all else stay."""
        old = opened(SECRET_KEY=OLD)
        old.set("value", "x", 500)
        old.inc("counter")
        old.state.namespace("other").set("value", "y")
        old.cache.results.set("result", "z")
        new = opened(SECRET_KEY=NEW, SECRET_KEY_FALLBACKS=[OLD])
        new.set("new", "n")
        looked = run(new, "resign", "--dry-run", "--json")
        done = run(new, "resign", "--json")
        assert looked.stdout == done.stdout
        assert json.loads(done.stdout) == {
            "valid": 1,
            "resigned": 3,
            "unsigned": 0,
            "refused": 0,
        }
        assert done.exit_code == 0
        alone = opened(SECRET_KEY=NEW)
        assert alone.get_many("value", "counter", "new", "result") == ["x", 1, "n", "z"]
        assert alone.state.namespace("other").get("value") == "y"
        assert 400 < (alone.ttl("value") or 0) <= 500

    def test_unsigned(self, opened: Any, bomb: bytes) -> None:
        """What has no signature is left until it is trusted, and is never unpickled."""
        cache = opened(SECRET_KEY=NEW)
        opened(CACHE_CODEC="pickle").set("old", "x", 500)
        put(cache, "bomb", bomb)
        refused = run(cache, "resign", "--json")
        assert (refused.exit_code, json.loads(refused.stdout)["unsigned"]) == (1, 2)
        assert "--trust-unsigned" in refused.stderr
        with pytest.raises(NotSerializable):
            cache.get("old")
        done = run(cache, "resign", "--json", "--trust-unsigned")
        assert (done.exit_code, json.loads(done.stdout)["resigned"]) == (0, 2)
        assert cache.get("old") == "x"
        assert 400 < (cache.ttl("old") or 0) <= 500

    def test_forged(self, opened: Any, bomb: bytes) -> None:
        """What was signed with an unknown key is never signed."""
        cache = opened(SECRET_KEY=NEW)
        forged = SignedPickleCodec({"SECRET_KEY": "a guess"}).sign(bomb)
        put(cache, "bomb", forged)
        done = run(cache, "resign", "--trust-unsigned", "--json")
        assert (done.exit_code, json.loads(done.stdout)["refused"]) == (1, 1)
        assert raw(cache, "bomb") == forged

    def test_written_meanwhile(self, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A value that is written while its predecessor is signed is what stays."""
        cache = opened(SECRET_KEY=NEW)
        put(cache, "key", PickleCodec().encode("before"))
        sign = cache.state.codec.sign

        def write_first(raw: bytes) -> bytes:
            if raw == PickleCodec().encode("before"):
                cache.set("key", "after")
            return sign(raw)

        monkeypatch.setattr(cache.state.codec, "sign", write_first)
        assert run(cache, "resign", "--trust-unsigned").exit_code == 0
        assert cache.get("key") == "after"

    def test_nothing_to_sign_with(self, opened: Any) -> None:
        """Where nothing is signed the command says what it takes."""
        for settings in ({"CACHE_CODEC": "json", "SECRET_KEY": NEW}, {}):
            refused = run(opened(**settings), "resign")
            assert refused.exit_code == 1
            assert "SECRET_KEY" in refused.stderr


@pytest.mark.on("memcached")
def test_resign_without_a_listing(opened: Any) -> None:
    """A store that cannot list its keys says so."""
    refused = run(opened(SECRET_KEY=NEW), "resign")
    assert refused.exit_code == 1
    assert "does not support" in refused.stderr


@ON_A_SERVER
class TestMoving:
    """Between a store in the network and a file of one's own, and back."""

    @pytest.fixture
    def local(self, tmp_path: Path) -> Iterator[Cache]:
        app = Flask(__name__)
        app.config.update(CACHE_DIR=tmp_path / "local", SECRET_KEY=NEW, CACHE_KEY_PREFIX="test:")
        cache = Cache(app)
        with closing(cache.state):
            yield cache

    def test_copy_out(self, opened: Any, local: Cache, bomb: bytes, tmp_path: Path) -> None:
        """Into a file pickles go without a signature, and none that may be forged."""
        cache = opened(SECRET_KEY=NEW)
        cache.set("value", {1})
        put(cache, "unsigned", bomb)
        put(cache, "forged", SignedPickleCodec({"SECRET_KEY": "a guess"}).sign(bomb))
        done = run(cache, "copy", "--to", f"filesystem://{tmp_path}/local", "--json")
        expected = {"written": 1, "refused": 0, "differ": 0}
        assert (done.exit_code, json.loads(done.stdout)) == (0, expected)
        assert "without a valid signature (2)" in done.stderr
        assert local.get("value") == {1}
        assert local.keys() == ["value"]

    def test_copy_in(self, opened: Any, local: Cache, cache_settings: Mapping[str, str]) -> None:
        """From a file they are signed on their way."""
        local.set("value", {1})
        local.inc("counter")
        done = run(local, "copy", "--to", cache_settings["CACHE_URL"])
        assert done.exit_code == 0, done.stderr
        assert opened(SECRET_KEY=NEW).get_many("value", "counter") == [{1}, 1]

    def test_backup_of_signed(self, opened: Any, local: Cache, tmp_path: Path) -> None:
        """A backup keeps signatures: it comes back without trust, where pickles are signed."""
        cache, file = opened(SECRET_KEY=NEW), str(tmp_path / "backup")
        cache.set("value", {1})
        assert run(cache, "backup", file).exit_code == 0
        assert run(cache, "restore", "--overwrite", file).exit_code == 0
        assert cache.get("value") == {1}
        refused = run(local, "restore", "--trust-pickle", file)
        assert refused.exit_code == 1
        assert "signed-pickle" in refused.stderr

    def test_backup_of_unsigned(self, opened: Any, local: Cache, tmp_path: Path) -> None:
        """A backup of pickles takes trust, and is signed as it is restored."""
        cache, file = opened(SECRET_KEY=NEW), str(tmp_path / "backup")
        local.set("value", {1})
        assert run(local, "backup", file).exit_code == 0
        assert "--trust-pickle" in run(cache, "restore", file).stderr
        assert run(cache, "restore", "--trust-pickle", file).exit_code == 0
        assert cache.get("value") == {1}

    def test_forged_backup(self, opened: Any, bomb: bytes, tmp_path: Path) -> None:
        """A pickle put into a backup of signed ones is refused where it is read."""
        cache, file = opened(SECRET_KEY=NEW), str(tmp_path / "backup")
        put(cache, "value", bomb)
        assert run(cache, "backup", file).exit_code == 0
        assert run(cache, "restore", "--overwrite", file).exit_code == 0
        with pytest.raises(NotSerializable):
            cache.get("value")

    def test_export(self, opened: Any, local: Cache, bomb: bytes) -> None:
        """Signed lines come back without trust, pickles with it; forged ones never."""
        cache = opened(SECRET_KEY=NEW)
        cache.set("value", {1})
        signed = run(cache, "export").stdout
        assert run(cache, "import", "--overwrite", stdin=signed).exit_code == 0
        local.set("value", {2})
        pickled = run(local, "export").stdout
        assert "--trust-pickle" in run(cache, "import", "--overwrite", stdin=pickled).stderr
        assert run(cache, "import", "--overwrite", "--trust-pickle", stdin=pickled).exit_code == 0
        assert cache.get("value") == {2}
        put(cache, "value", bomb)
        forged = run(cache, "export").stdout
        assert "not signed" in run(cache, "import", "--overwrite", stdin=forged).stderr
