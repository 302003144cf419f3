"""Read-modify-write on every store: update, compare_and_set and get_or_set."""

import pytest
from backends import IN_THE_STATE, about

from sharedstate import ABSENT, Deadlock, NotSerializable, State, StoreFull, StoreUnavailable
from sharedstate.stores.operations import Swap


class Stop(BaseException):
    """What no `except Exception` catches."""


def fail(value):
    raise Stop


class TestUpdate:
    def test_present(self, state):
        """The value is replaced by what the change makes of it, and that is the answer."""
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


class TestGetOrSet:
    def test_present(self, state):
        """A value that is there is the answer, and nothing is computed."""
        state.set("key", 1, timeout=100)
        assert state.get_or_set("key", fail, timeout=1000) == 1
        assert state.ttl("key") == about(100)

    def test_missing(self, state):
        """What is computed is stored and the answer, once."""
        assert state.get_or_set("key", lambda: [1]) == [1]
        assert state.get_or_set("key", fail) == [1]
        assert state.get("key") == [1]

    def test_set_before_it_began(self, state, monkeypatch):
        """What others computed before this one could begin is the answer, and nothing is made."""
        looks, values = [], state.store.values

        def late(keys):
            found = values(keys)
            looks.append(keys)
            if len(looks) == 1:
                state.set("key", "theirs")
            return found

        monkeypatch.setattr(state.store, "values", late)
        made = []
        assert state.get_or_set("key", lambda: made.append(1)) == "theirs"
        assert made == []

    def test_locks_are_apart(self, state):
        """A value is computed while somebody holds a lock of the same name."""
        with state.lock("key"):
            assert state.get_or_set("key", lambda: 1) == 1

    def test_expired(self, state, clock):
        """A value that has expired is computed again."""
        assert state.get_or_set("key", lambda: 1, timeout=100) == 1
        clock.advance(110)
        assert state.get_or_set("key", lambda: 2, timeout=100) == 2

    def test_false_values(self, state):
        """A value that Python takes for false, None too, is computed once like any other."""
        for value in (None, 0, False, ""):
            assert state.get_or_set(f"key {value!r}", lambda value=value: value) is value
            assert state.get_or_set(f"key {value!r}", fail) == value

    @pytest.mark.parametrize("error", [Stop, ZeroDivisionError])
    def test_make_raises(self, state, error):
        """If computing fails its error comes out, nothing is stored, and the next one computes."""

        def make():
            raise error

        with pytest.raises(error):
            state.get_or_set("key", make)
        assert not state.has("key")
        assert state.get_or_set("key", lambda: 1) == 1

    @IN_THE_STATE
    def test_not_serializable(self, state):
        """A result that cannot be stored is refused, and the next one computes."""
        with pytest.raises(NotSerializable):
            state.get_or_set("key", lambda: lambda: None)
        assert not state.has("key")
        assert state.get_or_set("key", lambda: 1) == 1

    def test_nested(self, state):
        """Computing one key may compute another."""
        assert state.get_or_set("key", lambda: state.get_or_set("other", lambda: 5) + 1) == 6
        assert state.get("other") == 5

    def test_takes_longer_than_its_lease(self, state, clock):
        """If computing outlasts its lease another may compute, and the first value is all's."""

        def make():
            clock.advance(20)
            assert state.get_or_set("key", lambda: "second", timeout=100, lease=10) == "second"
            return "first"

        assert state.get_or_set("key", make, timeout=1000, lease=10) == "second"
        assert state.get("key") == "second"
        assert state.ttl("key") == about(100)

    def test_set_meanwhile(self, state):
        """A value that somebody sets while it is computed is not replaced, and is the answer."""
        assert state.get_or_set("key", lambda: state.set("key", "set") and "made") == "set"
        assert state.get("key") == "set"

    @IN_THE_STATE
    @pytest.mark.parametrize("error", [StoreUnavailable, StoreFull])
    def test_claim_that_cannot_be_dropped(self, state, error, monkeypatch):
        """Whether the value was set decides how it ends, not what becomes of the claim."""
        transact, errors = state.store.transact, [StoreUnavailable("lost", outcome_unknown=True)]

        def failing(keys, operation):
            if type(operation) is Swap:
                raise error("the claim stays")
            if b"compute" not in keys[0] and errors:
                raise errors.pop()
            return transact(keys, operation)

        monkeypatch.setattr(state.store, "transact", failing)
        with pytest.raises(StoreUnavailable) as raised:
            state.get_or_set("lost", lambda: 1)
        assert raised.value.outcome_unknown
        assert state.get_or_set("key", lambda: 1) == 1
        assert state.get("key") == 1

    @IN_THE_STATE
    def test_wrong_lease(self, state):
        """A lease is a hundredth of a second to a day."""
        for lease in [0, -1, float("nan"), 24 * 3600 + 1]:
            with pytest.raises(ValueError, match="lease"):
                state.get_or_set("key", fail, lease=lease)
            assert not state.has("key")


class TestStale:
    """get_or_set with stale: the value is fresh for 100 seconds, and kept for 50 more."""

    @pytest.fixture
    def get(self, state):
        def get(make, **options):
            return state.get_or_set("key", make, 100, **{"stale": 50, **options})

        return get

    def test_fresh(self, get, state, clock):
        """Nothing is computed before its time is over, and it is kept for longer than that."""
        assert get(lambda: "old") == "old"
        assert state.ttl("key") == about(150)
        clock.advance(90)
        assert get(fail) == "old"

    def test_stale(self, get, state, clock):
        """One computes it anew, and all others get the old value at once, also that one itself."""
        get(lambda: "old")
        clock.advance(110)
        assert get(lambda: get(fail) + " is not new") == "old is not new"
        assert state.ttl("key") == about(150)
        assert get(fail) == "old is not new"

    def test_expired(self, get, clock):
        """What is older than both is computed, and the others wait."""
        get(lambda: "old")
        clock.advance(160)
        with pytest.raises(Deadlock):
            get(lambda: get(fail))
        assert get(lambda: "new") == "new"

    def test_make_raises(self, get, clock):
        """The error comes out, the old value stays, and the next one computes."""
        get(lambda: "old")
        clock.advance(110)
        with pytest.raises(Stop):
            get(lambda: fail(get(fail)))
        assert get(lambda: "new") == "new"

    def test_died(self, get, state, clock):
        """If the one that computes dies, another one does when its lease has ended."""
        get(lambda: "old")
        clock.advance(110)
        state.namespace("compute").set("key", "a claim", timeout=20)
        assert get(fail) == "old"
        clock.advance(30)
        assert get(lambda: "new") == "new"

    def test_others_set_it(self, get, state, clock):
        """What somebody sets meanwhile is not replaced, and is the value."""
        get(lambda: "old")
        clock.advance(110)
        assert get(lambda: state.set("key", "theirs") and "new") == "theirs"
        assert state.get("key") == "theirs"
        assert state.ttl("key") == 0
        state.set("key", "theirs", timeout=40)
        assert get(lambda: "new") == "new"

    def test_expires_meanwhile(self, get, clock):
        """What is computed is stored also if the old value has expired by then."""
        get(lambda: "old")
        clock.advance(110)
        assert get(lambda: clock.advance(60) or "new") == "new"
        assert get(fail) == "new"

    def test_refreshed_between(self, get, state, clock, monkeypatch):
        """What another computed between the look and the claim is not computed again."""
        get(lambda: "old")
        clock.advance(110)
        read, looks = state.store.read, []

        def look(keys):
            found = read(keys)
            looks.append(keys)
            if len(looks) == 1:
                get(lambda: "theirs")
            return found

        monkeypatch.setattr(state.store, "read", look)
        assert get(fail) == "theirs"

    def test_for_ever(self, get, state):
        """A value that does not expire is never stale."""
        assert state.get_or_set("key", lambda: 1, stale=50) == 1
        assert state.ttl("key") == 0
        assert get(fail) == 1

    @IN_THE_STATE
    def test_wrong(self, get):
        """What is no time is refused, and nothing is computed."""
        for stale, error in ((-1, ValueError), (float("nan"), ValueError), ("1", TypeError)):
            with pytest.raises(error):
                get(fail, stale=stale)
