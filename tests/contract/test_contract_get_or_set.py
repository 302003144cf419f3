"""Values that are computed once, on every store: get_or_set, also of stale ones."""

import pytest
from backends import IN_THE_STATE, about

from sharedstate import Deadlock, NotSerializable, StoreFull, StoreUnavailable
from sharedstate.stores.operations import Swap


class Stop(BaseException):
    """What no `except Exception` catches."""


def fail(value):
    raise Stop


class TestGetOrSet:
    def test_present(self, state):
        """A value that is there is returned, and nothing is computed."""
        state.set("key", 1, timeout=100)
        assert state.get_or_set("key", fail, timeout=1000) == 1
        assert state.ttl("key") == about(100)

    def test_missing(self, state):
        """What is computed is stored and returned, once."""
        assert state.get_or_set("key", lambda: [1]) == [1]
        assert state.get_or_set("key", fail) == [1]
        assert state.get("key") == [1]

    def test_set_before_it_began(self, state, monkeypatch):
        """What others computed before this one could begin is returned, and nothing is made."""
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
        """A value that somebody sets while it is computed is not replaced, and is returned."""
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
