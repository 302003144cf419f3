"""Compare-and-set on every store."""

import pytest
from backends import IN_THE_STATE, about

from sharedstate import ABSENT, NotSerializable, State


class TestCompareAndSet:
    def test_equal(self, state):
        """A value that equals the expected one is replaced."""
        state.set("key", [1, {"a": None}])
        assert state.compare_and_set("key", [1, {"a": None}], "new") is True
        assert state.get("key") == "new"

    def test_different(self, state):
        """A value that does not equal the expected one stays, and so does its expiry."""
        for expected in ["other", None, 0, ABSENT]:
            state.set("key", "value", timeout=100)
            assert state.compare_and_set("key", expected, "new", timeout=1000) is False
            assert state.get("key") == "value"
            assert state.ttl("key") == about(100)

    def test_missing(self, state):
        """Without a value nothing is set, not even if None is expected."""
        for expected in ["value", None, 0]:
            assert state.compare_and_set("key", expected, "new") is False
            assert not state.has("key")

    def test_expired(self, state, clock):
        """A value that has expired equals nothing but ABSENT."""
        state.set("key", 1, timeout=100)
        clock.advance(110)
        assert not state.compare_and_set("key", 1, 2)
        assert state.compare_and_set("key", ABSENT, 2)
        assert state.ttl("key") == 0

    def test_stored_none(self, state):
        """A stored None equals None."""
        state.set("key", None)
        assert state.compare_and_set("key", None, 1) is True
        assert state.get("key") == 1

    def test_absent_expected(self, state):
        """With ABSENT expected the value is set only if there is none."""
        assert state.compare_and_set("key", ABSENT, 1) is True
        assert state.compare_and_set("key", ABSENT, 2) is False
        assert state.get("key") == 1

    def test_absent_as_value(self, state):
        """With ABSENT as the value the key is removed only if it holds what is expected."""
        state.set("key", 1)
        assert state.compare_and_set("key", 2, ABSENT) is False
        assert state.has("key")
        assert state.compare_and_set("key", 1, ABSENT) is True
        assert not state.has("key")
        assert state.compare_and_set("key", 1, ABSENT) is False

    def test_absent_twice(self, state):
        """With ABSENT for both it returns whether the key is missing, and changes nothing."""
        assert state.compare_and_set("key", ABSENT, ABSENT) is True
        state.set("key", 1)
        assert state.compare_and_set("key", ABSENT, ABSENT) is False
        assert state.get("key") == 1

    def test_equal_in_other_bytes(self, state, json_state):
        """Equal values are equal even if they would be stored as different bytes."""
        for each in (state, json_state):
            each.set("key", {"a": 1, "b": 2}, timeout=100)
            assert each.compare_and_set("key", {"b": 2, "a": 1}, 1.0) is True
            assert each.compare_and_set("key", 1, 5) is True
            assert each.get("key") == 5
            assert each.ttl("key") == about(100)

    def test_changes_meanwhile(self, state):
        """A value that another changes while it is compared is compared anew."""

        class Meddler:
            """Equal to whatever it is compared with, which it replaces first."""

            left = 3

            def __eq__(self, other):
                if self.left:
                    Meddler.left -= 1
                    state.inc("key")
                return True

            __hash__ = None

            def __reduce__(self):
                return str, ("meddler",)

        state.set("key", 1)
        assert state.compare_and_set("key", Meddler(), "new") is True
        assert state.get("key") == "new"
        assert Meddler.left == 0

    def test_keeps_expiry(self, state, clock):
        """The expiry stays as it was, unless a timeout is given."""
        state.set("key", 1, timeout=100)
        clock.advance(40)
        assert state.compare_and_set("key", 1, 2)
        assert state.ttl("key") == about(60)
        assert state.compare_and_set("key", 2, 3, timeout=200)
        assert state.ttl("key") == about(200)
        assert state.compare_and_set("key", 3, 4, timeout=0)
        assert state.ttl("key") == 0
        assert state.compare_and_set("key", 4, 5)
        assert state.ttl("key") == 0

    def test_renews_expiry(self, state):
        """A value may be replaced by itself with another expiry."""
        state.set("key", 1, timeout=100)
        assert state.compare_and_set("key", 1, 1, timeout=200)
        assert state.ttl("key") == about(200)

    def test_default_timeout(self, store):
        """A timeout of None is the default one; so is that of a value which this creates."""
        state = State(store, default_timeout=100)
        state.compare_and_set("key", ABSENT, 1)
        assert state.ttl("key") == about(100)
        state.touch("key", 0)
        state.compare_and_set("key", 1, 2)
        assert state.ttl("key") == 0
        state.compare_and_set("key", 2, 3, timeout=None)
        assert state.ttl("key") == about(100)

    @IN_THE_STATE
    def test_not_serializable(self, state):
        """Neither can be what cannot be stored, and nothing changes."""
        for arguments in [(lambda: None, 1), (1, lambda: None)]:
            state.set("key", 1)
            with pytest.raises(NotSerializable):
                state.compare_and_set("key", *arguments)
            assert state.get("key") == 1
