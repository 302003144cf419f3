"""Every store's batches, revisions by the whole item, and versions."""

import pytest
from backends import about

from sharedstate import (
    ABSENT,
    InvalidKey,
    NotACounter,
    NotSupported,
    OutOfBounds,
    State,
    ValueTooLarge,
)


class TestApply:
    pytestmark = pytest.mark.needs("atomic_batch")

    def test_answers_in_order(self, state):
        """Each operation sees what those before it did, and returns as it does alone."""
        batch = state.batch()
        batch.item("a")
        batch.set("a", 5, timeout=100)
        batch.inc("a", 2)
        batch.item("a")
        batch.delete("a")
        batch.delete("a")
        first, was_set, number, item, removed, again = batch.apply()
        assert (first, was_set, number, removed, again) == (None, True, 7, True, False)
        assert (item.key, item.value, item.ttl) == ("a", 7, about(100))
        assert state.keys() == []

    def test_empty(self, state):
        """A batch of nothing does nothing."""
        assert state.batch().apply() == []
        assert state.batch().apply_each() == []

    @pytest.mark.parametrize(
        ("value", "maximum", "error"), [("text", None, NotACounter), (1, 1, OutOfBounds)]
    )
    def test_all_or_nothing(self, state, value, maximum, error):
        """If one is refused nothing is done, and the error says which one it was."""
        state.set_many({"wrong": value, "kept": "old"}, timeout=100)
        batch = state.batch()
        batch.set("kept", "new")
        batch.delete("kept")
        batch.inc("made")
        batch.inc("wrong", maximum=maximum)
        batch.inc("made")
        with pytest.raises(error) as caught:
            batch.apply()
        assert caught.value.step == 3
        assert state.get_many("wrong", "kept", "made") == [value, "old", None]
        assert state.ttl("kept") == about(100)

    def test_thousand(self, state):
        """A thousand operations are one step."""
        batch = state.batch()
        for _ in range(1000):
            batch.inc("key")
        assert batch.apply() == list(range(1, 1001))


class TestApplyEach:
    @pytest.mark.parametrize("timeout", [None, 300])
    def test_timeouts(self, store, timeout):
        """What a batch creates ends after its timeout, or the default one, as it does alone."""
        state = State(store, default_timeout=100)
        batch = state.batch()
        batch.set("a", 1, timeout)
        batch.inc("b", timeout=timeout)
        batch.apply_each()
        assert [state.ttl(key) for key in "ab"] == [about(timeout or 100)] * 2

    def test_refused_alone(self, state):
        """One that is refused returns its error; the others are done."""
        state.set("text", "x")
        batch = state.batch()
        for key in ("a", "text", "a"):
            batch.inc(key)
        batch.item("text")
        first, refused, second, item = batch.apply_each()
        assert (first, second, item.value) == (1, 2, "x")
        assert isinstance(refused, NotACounter)
        assert state.get_many("a", "text") == [2, "x"]

    def test_all_done(self, state):
        """Where none is refused each is done once."""
        batch = state.batch()
        batch.set("a", 1)
        batch.inc("a")
        batch.delete("b")
        assert batch.apply_each() == [True, 2, False]
        assert state.get("a") == 2


class TestCollect:
    def test_checked_at_once(self, state):
        """What is not allowed raises when it is collected."""
        batch = state.batch()
        for key in ("", "a\nb", "x" * 251):
            with pytest.raises(InvalidKey):
                batch.inc(key)
        with pytest.raises(TypeError):
            batch.inc("a", 1.5)
        with pytest.raises(ValueTooLarge):
            batch.set("a", "x" * (2 << 20))
        assert batch.apply_each() == []

    def test_not_supported(self, store, state):
        """A store without transactions says so, and does nothing."""
        batch = state.batch()
        batch.inc("a")
        if "atomic_batch" in store.can:
            assert batch.apply() == [1]
            return
        with pytest.raises(NotSupported):
            batch.apply()
        assert state.get("a") is None


class TestRevise:
    def test_item(self, state):
        """The change sees the item, and its expiry is kept."""
        state.set("key", "old", timeout=100)
        version = state.item("key").version
        seen = []
        assert state.revise("key", lambda item: seen.append(item) or "new") == "new"
        assert (seen[0].value, seen[0].ttl, seen[0].version) == ("old", about(100), version)
        assert state.item("key")[:3] == ("key", "new", about(100))

    def test_missing(self, state):
        """Without an item it sees ``None``, and what it returns is stored with the timeout."""
        assert state.revise("key", lambda item: [item], timeout=100) == [None]
        assert state.item("key")[:3] == ("key", [None], about(100))

    def test_removes(self, state):
        """ABSENT, when it is returned, removes the key, or leaves it missing."""
        state.set("key", 1)
        for _ in range(2):
            assert state.revise("key", lambda item: ABSENT) is ABSENT
            assert not state.has("key")

    def test_error(self, state):
        """If the change raises nothing changes."""
        state.set("key", 1)
        with pytest.raises(ZeroDivisionError):
            state.revise("key", lambda item: 1 // 0, timeout=5)
        assert state.item("key")[:3] == ("key", 1, 0)

    def test_overtaken(self, state):
        """A write by another meanwhile makes it decide again."""

        def change(item):
            if item.value == 1:
                state.set("key", 10)
            return item.value + 1

        state.set("key", 1)
        assert state.revise("key", change) == 11
        assert state.get("key") == 11


class TestVersion:
    @pytest.mark.parametrize("value", [1, "text", None, {"b": [1, 2.5], "a": "ü"}, []])
    def test_of_what_is_stored(self, json_state, value):
        """The version of a value is that of the item when it is stored."""
        json_state.set("key", value)
        item = json_state.item("key")
        assert item.version == json_state.version(value)
        assert item.version != json_state.version([value])

    def test_of_a_counter(self, json_state):
        """It changes with each increment, and comes back with the number."""
        versions = []
        for delta in (1, 1, -1):
            json_state.inc("key", delta)
            versions.append(json_state.item("key").version)
        assert versions[0] == versions[2] != versions[1]


def test_inc_once_says_whether_it_is_a_repeat(state, store):
    """The first call is none, each further one is, and the number stays."""
    if "once" not in store.can:
        with pytest.raises(NotSupported):
            state.inc_once("key", "token")
        return
    assert state.inc_once("key", "token", 5, maximum=9) == (5, False)
    state.inc("key")
    assert state.inc_once("key", "token", 5, maximum=9) == (5, True)
    assert state.get("key") == 6
