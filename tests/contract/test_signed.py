"""Signed pickles: what others have written to a store in the network runs no code here."""

# ruff: noqa: F811  # the fixtures that are imported are arguments of the tests

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from signed_caches import IN_THE_NETWORK, NEW, OLD, ON_A_SERVER, Bomb, bomb, opened, put, raw  # noqa: F401  # fixtures

from sharedstate import ConfigurationError, NotSerializable
from sharedstate.codec import PickleCodec, SignedPickleCodec, codec_from
from sharedstate.stores.operations import Put


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
