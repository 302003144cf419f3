"""Read-modify-write on every store: update, compare_and_set and get_or_set."""

import pytest
from backends import IN_THE_STATE, about

from sharedstate import ABSENT, NotSerializable, State


class Stop(BaseException):
    """What no `except Exception` catches."""


class TestUpdate:
    def test_present(self, state):
        """The value is replaced by what the change makes of it, and that is returned."""
        state.set("key", [1])
        assert state.update("key", lambda value: [*value, 2]) == [1, 2]
        assert state.get("key") == [1, 2]

    def test_missing(self, state):
        """Without a value the change sees the default, None unless told."""
        assert state.update("key", repr) == "None"
        assert state.update("other", lambda value: value + 1, default=5) == 6
        assert state.get_many("key", "other") == ["None", 6]

    def test_stored_none(self, state):
        """A stored None is what the change sees, not the default."""
        state.set("key", None)
        assert state.update("key", repr, default="default") == "None"

    def test_expired(self, state, clock):
        """What has expired is not seen, and its expiry does not hold for the new value."""
        state.set("key", 1, timeout=100)
        clock.advance(110)
        assert state.update("key", lambda value: value, default="default") == "default"
        assert state.ttl("key") == 0

    def test_default_is_copied(self, state):
        """A change in place of the default leaves the caller's own as it was."""
        default = []
        change = lambda value: value.append(1) or value  # noqa: E731 - as callers write it
        assert state.update("key", change, default=default) == [1]
        assert state.update("key", change, default=default) == [1, 1]
        nested = {"a": []}
        state.update("nested", lambda value: value["a"].append(1) or value, default=nested)
        assert nested == {"a": []}
        assert state.update("other", change, default=default) == [1]
        assert default == []

    def test_keeps_expiry(self, state, clock):
        """The expiry stays as it was, whether there is one or none."""
        state.set("key", 1, timeout=100)
        clock.advance(40)
        state.update("key", lambda value: value + 1)
        assert state.ttl("key") == about(60)
        state.set("key", 1)
        state.update("key", lambda value: value + 1)
        assert state.ttl("key") == 0

    def test_created_with_default_timeout(self, store):
        """A value that it creates ends after the default timeout."""
        state = State(store, default_timeout=100)
        state.update("key", lambda value: 1)
        assert state.ttl("key") == about(100)

    @IN_THE_STATE
    @pytest.mark.parametrize("error", [Stop, ZeroDivisionError])
    def test_change_raises(self, state, error):
        """If the change raises, its error comes out and nothing changes."""

        def change(value):
            value.append(2)
            raise error

        state.set("key", [1], timeout=100)
        with pytest.raises(error):
            state.update("key", change)
        assert state.get("key") == [1]
        assert state.ttl("key") == about(100)
        with pytest.raises(error):
            state.update("missing", change, default=[])
        assert not state.has("missing")

    @IN_THE_STATE
    def test_not_serializable(self, state):
        """If the change makes something that cannot be stored, nothing changes."""
        state.set("key", 1)
        with pytest.raises(NotSerializable):
            state.update("key", lambda value: lambda: None)
        assert state.get("key") == 1

    @IN_THE_STATE
    def test_forgotten_return(self, state):
        """A change that changes the value in place and returns nothing is refused, with the key."""
        with pytest.raises(TypeError, match="'key'.*dict.*return.*allow_none"):
            state.update("key", lambda value: value.update(c=1), default={})
        assert not state.has("key")
        state.set("key", {"b": 1}, timeout=100)
        with pytest.raises(TypeError, match="'key'.*dict.*return.*allow_none"):
            state.update("key", lambda value: value.update(c=1))
        assert state.get("key") == {"b": 1}
        assert state.ttl("key") == about(100)

    @IN_THE_STATE
    def test_none(self, state):
        """None replaces a value if that is meant, and None itself at any time."""
        state.set("key", 1)
        assert state.update("key", lambda value: None, allow_none=True) is None
        assert state.item("key").value is None
        assert state.update("key", lambda value: None) is None
        assert state.update("missing", lambda value: None) is None
        state.set("key", 1)
        assert state.revise("key", lambda item: None) is None
        assert state.item("key").value is None

    def test_removes(self, state):
        """A change that returns ABSENT removes the key."""
        state.set("key", 1)
        assert state.update("key", lambda value: ABSENT) is ABSENT
        assert not state.has("key")
        assert state.update("key", lambda value: ABSENT) is ABSENT
        assert not state.has("key")

    @IN_THE_STATE
    def test_sees_absent(self, state):
        """With ABSENT as the default a change can tell a missing value from a stored one."""
        seen = []
        state.update("key", lambda value: seen.append(value), default=ABSENT)
        state.update("key", lambda value: seen.append(value), default=ABSENT)
        assert seen == [ABSENT, None]

    def test_unchanged(self, state):
        """A change that returns what it saw leaves it."""
        state.set("key", [1], timeout=100)
        assert state.update("key", lambda value: value) == [1]
        assert state.get("key") == [1]
        assert state.ttl("key") == about(100)

    def test_counter(self, state):
        """A counter can be updated, and what an update stores can be counted."""
        state.inc("hits")
        assert state.update("hits", lambda value: value * 10) == 10
        assert state.inc("hits") == 11

    @pytest.mark.parametrize("others", ["set", "delete", "inc", "expire"])
    def test_runs_again(self, state, clock, others):
        """If another changes the value meanwhile, which nothing hinders, the change runs again."""
        meanwhile = {
            "set": lambda: state.set("key", 100),
            "delete": lambda: state.delete("key"),
            "inc": lambda: state.inc("key", 99),
            "expire": lambda: clock.advance(110),
        }
        seen = []

        def change(value):
            seen.append(value)
            if len(seen) == 1:
                meanwhile[others]()
            return value + 1

        state.set("key", 1, timeout=100)
        second = 100 if others in ("set", "inc") else 7
        assert state.update("key", change, default=7) == second + 1
        assert seen == [1, second]
        assert state.get("key") == second + 1

    def test_created_meanwhile(self, state):
        """If another creates the value meanwhile, the change runs again on that one."""

        def change(value):
            state.add("key", 100)
            return value + 1

        assert state.update("key", change, default=0) == 101

    def test_other_keys_meanwhile(self, state):
        """A change may use the same state itself; other keys do not make it run again."""
        runs = []

        def change(value):
            runs.append(value)
            return state.inc("other") + state.update("inner", lambda value: 10)

        assert state.update("key", change) == 11
        assert runs == [None]
