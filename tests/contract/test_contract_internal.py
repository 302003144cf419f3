"""Locks, fences, tokens and computations keep apart from the keys, on every store."""

import contextlib

import pytest
from listing import CURSORS, listed

from sharedstate import InvalidKey, State


@pytest.mark.parametrize("prefix", ["", "a:"])
class TestInternalRecords:
    """Locks, fences, `once` tokens and computations have records of their own."""

    @pytest.fixture
    def state(self, store, prefix):
        """A state with a record of each kind, and one value."""
        state = State(store, prefix=prefix)
        self.lock = state.lock("job").acquire()
        state.inc("key", once="token")
        state.get_or_set("made", lambda: state.get_or_set("inner", lambda: 1))
        state.delete_many("made", "inner")
        return state

    @pytest.mark.needs("keys", "once")
    def test_not_listed(self, state):
        """No record but the values is among the keys."""
        assert state.keys() == ["key"]
        assert listed(state) == [("key", 1, 0)]
        assert state.keys("job") == state.keys("token") == []

    @pytest.mark.needs("keys", "once")
    def test_not_reached(self, state):
        """No prefix of keys leads to them."""
        for asked in ["\0", "\0lock:", "\0once:", "\0fence:", "\0lock:a"]:
            with contextlib.suppress(InvalidKey):
                assert state.keys(asked) == []
                assert state.items(asked) == ([], None)

    @pytest.mark.needs("keys", "once")
    def test_no_cursor_leads_there(self, state):
        """No cursor that names one of them shows it."""
        for shape in CURSORS:
            hidden, _ = state.store.page(b"\0", None, 1000)
            assert any(b"lock" in key for key in hidden)
            for key in hidden:
                for name in (key, key[1:], key.removeprefix(state.physical_prefix)):
                    with contextlib.suppress(InvalidKey):
                        page, _ = state.items(cursor=shape.format(name.hex()))
                        assert [item.key for item in page] in ([], ["key"])
            self.lock.renew()

    @pytest.mark.needs("once")
    def test_not_cleared(self, state):
        """A state that is cleared keeps its locks, fences and tokens."""
        state.clear()
        assert state.get("key") is None
        assert not state.lock("job").try_acquire()
        assert state.inc("key", once="token") == 1
        assert state.get("key") is None
        self.lock.release()
        assert state.lock("job").acquire().fence > self.lock.fence

    @pytest.mark.needs("once")
    def test_names_are_apart(self, state):
        """A value, a lock and a token of one name have nothing to do with each other."""
        state.set_many({"job": "value", "token": "value"})
        assert not state.lock("job").try_acquire()
        assert state.inc("key", once="token") == 1
        assert state.inc("key", once="job") == 2
        assert state.get_many("job", "token") == ["value", "value"]
