"""Every store's results that are bounded: batches that read, and pages of items."""

from __future__ import annotations

import pytest

from sharedstate import ResultTooLarge

TEXT = "x" * 1000


class TestSizes:
    def test_all_kinds(self, state, store, clock):
        """A value has as many bytes as are stored, a missing or expired one none."""
        state.set_many({"text": TEXT, "small": "x"})
        state.inc("counter", -1234)
        state.set("old", TEXT, timeout=10)
        clock.advance(20)
        names = ["text", "none", "counter", "old", "small", "text"]
        keys = [state.keyspace.key(name) for name in names]
        expected = [len(value or b"") for value in store.values(keys)]
        sizes = store.sizes(keys)
        assert expected[2:4] == [5, 0] and expected[0] > 1000
        assert sizes[2] in (0, 5)  # A counter is short in any case.
        sizes[2] = 5
        assert sizes == expected
        assert store.sizes([]) == []


class TestBatch:
    pytestmark = pytest.mark.needs("atomic_batch")

    @pytest.mark.parametrize("is_checked_first", [True, False])
    def test_refused(self, state, is_checked_first):
        """What reads more than ``max_bytes``, one key again and again, is refused as a whole."""
        state.set_many({"large": TEXT, "kept": 1}, timeout=100)
        if not is_checked_first:
            # So that it seems to be too little for asking how much it is.
            state.max_value_bytes = 0
        batch = state.batch(max_bytes=2100)
        batch.delete("kept")
        batch.inc("made")
        for _ in range(3):
            batch.item("large")
        with pytest.raises(ResultTooLarge) as caught:
            batch.apply()
        assert (caught.value.step, caught.value.limit) == (4, 2100)
        assert state.get_many("kept", "made") == [1, None]

    def test_fits(self, state):
        """What is counted is what it reads: not what is replaced before, nor what is missing."""
        state.set("large", "x" * 5000)
        batch = state.batch(max_bytes=3100)
        batch.set("large", TEXT)
        for key in ("large", "none", "large", "large"):
            batch.item(key)
        _, first, missing, *rest = batch.apply()
        assert missing is None
        assert [item.value for item in (first, *rest)] == [TEXT] * 3

    def test_not_read(self, state, monkeypatch):
        """A batch that reads too much is refused before any of it is read."""
        state.set("large", TEXT)
        batch = state.batch(max_bytes=2100)
        for _ in range(1000):
            batch.item("large")
        monkeypatch.setattr(state.store, "transact", lambda *arguments: pytest.fail("it is read"))
        with pytest.raises(ResultTooLarge):
            batch.apply()

    def test_decoded_once(self, state, monkeypatch):
        """A key that is read a thousand times is decoded one time."""
        state.set("key", 1)
        batch = state.batch(max_bytes=1000)
        for _ in range(1000):
            batch.item("key")
        decoded = []
        decode = state.codec.decode
        monkeypatch.setattr(state.codec, "decode", lambda raw: decoded.append(raw) or decode(raw))
        assert [item.value for item in batch.apply()] == [1] * 1000
        assert len(decoded) == 1


class TestBatchOfEach:
    def test_refused_alone(self, state):
        """All others are done; from the one on at which it is too much, nothing is read."""
        state.set("large", TEXT)
        batch = state.batch(max_bytes=2100)
        for _ in range(3):
            batch.item("large")
        batch.inc("made")
        batch.item("made")
        first, second, third, number, last = batch.apply_each()
        assert (first.value, second.value, number) == (TEXT, TEXT, 1)
        assert isinstance(third, ResultTooLarge) and isinstance(last, ResultTooLarge)


class TestItems:
    pytestmark = pytest.mark.needs("keys")

    @pytest.mark.parametrize(("max_bytes", "at_most"), [(2100, 2), (1, 1)])
    def test_pages(self, state, monkeypatch, max_bytes, at_most):
        """A page ends before its values are too long, but has one; none of more is read."""
        state.set_many({f"key{i}": TEXT for i in range(5)})
        read = type(state.store).read
        asked = []
        monkeypatch.setattr(
            type(state.store),
            "read",
            lambda self, keys: asked.append(len(keys)) or read(self, keys),
        )
        found, cursor = [], None
        while True:
            items, cursor = state.items(cursor=cursor, max_bytes=max_bytes)
            assert len(items) <= at_most
            found += [item.key for item in items]
            if cursor is None:
                break
        assert sorted(found) == [f"key{i}" for i in range(5)]
        assert max(asked) <= at_most

    def test_small(self, state):
        """Small values fill the page."""
        state.set_many({f"key{i}": i for i in range(50)})
        items, _ = state.items(limit=50, max_bytes=10_000)
        assert len(items) == 50
