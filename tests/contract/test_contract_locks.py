"""Locks on every store: one holder, leases, renewal, and what is lost."""

import pytest
from backends import IN_THE_STATE

from sharedstate import InvalidKey, LockLost, LockTimeout, StoreUnavailable


def is_free(state, name="job"):
    """Whether the lock could be acquired; it is free again after that if it was."""
    lock = state.lock(name)
    if not lock.try_acquire():
        return False
    lock.release()
    return True


class TestHolding:
    def test_one_holder(self, state):
        """A lock that one object holds, another does not get before it is released."""
        first, second = state.lock("job"), state.lock("job")
        assert first.try_acquire() is True
        assert second.try_acquire() is False
        assert second.token is None
        first.release()
        assert second.try_acquire() is True

    def test_acquire(self, state):
        """An acquire returns the lock, with the token that proves it."""
        lock = state.lock("job")
        assert lock.token is None
        assert lock.acquire() is lock
        assert isinstance(lock.token, str)

    def test_timeout(self, state):
        """Who waits in vain gets LockTimeout, does not hold the lock, and disturbs nobody."""
        for wait in [0, 0.01, -1]:
            first, second = state.lock("job").acquire(), state.lock("job", wait=wait)
            with pytest.raises(LockTimeout, match="'job'") as caught:
                second.acquire()
            assert isinstance(caught.value, TimeoutError)
            assert second.token is None
            first.release()

    def test_timeout_of_a_block(self, state):
        """A block whose lock does not come free is not entered."""
        lock = state.lock("job").acquire()
        entered = False
        with pytest.raises(LockTimeout), state.lock("job", wait=0):
            entered = True
        assert not entered
        lock.release()

    def test_names_are_apart(self, state):
        """Locks of different names have nothing to do with each other."""
        state.lock("job").acquire()
        assert is_free(state, "other")
        assert is_free(state, "job2")

    def test_values_are_apart(self, state):
        """A lock is no value, and a value of its name no lock."""
        state.set("job", "value")
        lock = state.lock("job", wait=0).acquire()
        assert state.get("job") == "value"
        state.delete("job")
        assert not is_free(state)
        lock.release()

    def test_again(self, state):
        """An object can hold its lock again after it was released, with another token."""
        lock = state.lock("job")
        tokens = set()
        for _ in range(3):
            lock.acquire()
            tokens.add(lock.token)
            lock.release()
            assert lock.token is None
        assert len(tokens) == 3

    def test_twice(self, state):
        """An object that holds its lock cannot acquire it, and holds it still."""
        lock = state.lock("job").acquire()
        with pytest.raises(RuntimeError, match="already"):
            lock.acquire()
        lock.release()

    def test_json_state(self, json_state):
        """A lock works with either codec."""
        with json_state.lock("job") as lock:
            assert not is_free(json_state)
            lock.renew()
        assert is_free(json_state)

    @IN_THE_STATE
    def test_wrong_name(self, state):
        """A lock's name is a key."""
        for name in ["", "x" * 251, "a\n", 5]:
            with pytest.raises(InvalidKey):
                state.lock(name).acquire()

    def test_any_name(self, state):
        """A lock may be called whatever a key may."""
        for name in ["é" * 125, "a b/c%", "*", "all locks"]:
            with state.lock(name):
                assert not is_free(state, name)
            assert is_free(state, name)


class TestRelease:
    def test_late(self, state, clock):
        """A release after the end of the lease is an error, even if nobody else came."""
        lock = state.lock("job", lease=100).acquire()
        clock.advance(110)
        with pytest.raises(LockLost, match="'job'"):
            lock.release()
        assert lock.token is None

    def test_late_leaves_anothers(self, state, clock):
        """A late release does not free another's lock."""
        late, second = state.lock("job", lease=100).acquire(), state.lock("job", lease=100)
        clock.advance(110)
        second.acquire()
        with pytest.raises(LockLost):
            late.release()
        assert not is_free(state)
        second.release()
        assert is_free(state)

    def test_late_discard_leaves_anothers(self, state, clock):
        """Nor does a late discard, which says nothing."""
        late, second = state.lock("job", lease=100).acquire(), state.lock("job", lease=100)
        clock.advance(110)
        second.acquire()
        late.discard()
        assert late.token is None
        assert not is_free(state)
        second.release()

    def test_twice(self, state):
        """A second release is an error."""
        lock = state.lock("job").acquire()
        lock.release()
        with pytest.raises(LockLost):
            lock.release()

    def test_never_acquired(self, state):
        """A release of what was never acquired is an error, and frees nobody's lock."""
        lock = state.lock("job").acquire()
        with pytest.raises(LockLost):
            state.lock("job").release()
        state.lock("job").discard()
        assert not is_free(state)
        lock.release()

    def test_of_another_object(self, state):
        """A client that was given the token can release what another object holds."""
        lock, same = state.lock("job").acquire(), state.lock("job")
        same.token = lock.token
        same.release()
        assert is_free(state)

    def test_wrong_token(self, state):
        """Who has another token releases nothing, whatever it looks like."""
        lock = state.lock("job").acquire()
        for token in ["x", f"x.{lock.fence}", f"{lock.token}0", lock.token[:-1]]:
            other = state.lock("job")
            other.token = token
            with pytest.raises(LockLost):
                other.release()
        assert not is_free(state)
        lock.release()


class TestBlock:
    def test_holds(self, state):
        """A block holds the lock, and lets the next one in."""
        with state.lock("job") as lock:
            assert lock.token
            assert not is_free(state)
        assert lock.token is None
        assert is_free(state)

    @IN_THE_STATE
    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_error(self, state, error):
        """An error in a block releases the lock and comes out as it is."""
        with pytest.raises(error, match="in the block") as caught, state.lock("job"):
            raise error("in the block")
        assert not hasattr(caught.value, "__notes__")
        assert is_free(state)

    def test_outlasts_its_lease(self, state, clock):
        """A block that ends after its lease did ends with LockLost."""
        with pytest.raises(LockLost), state.lock("job", lease=100):
            clock.advance(110)

    def test_error_after_its_lease(self, state, clock):
        """An error in a block comes out as it is though the lock is lost, and frees no other's."""
        second = state.lock("job", lease=100)
        with pytest.raises(ValueError, match="in the block"), state.lock("job", lease=100):
            clock.advance(110)
            second.acquire()
            raise ValueError("in the block")
        assert not is_free(state)
        second.release()

    def test_released_inside(self, state):
        """A block that released its lock itself ends with LockLost."""
        with pytest.raises(LockLost), state.lock("job") as lock:
            lock.release()

    @IN_THE_STATE
    def test_store_fails(self, state, monkeypatch):
        """An error in a block comes out with a note if the lock could not be released."""

        def unavailable(keys, operation):
            raise StoreUnavailable("gone")

        with pytest.raises(ValueError, match="in the block") as caught, state.lock("job"):
            monkeypatch.setattr(state.store, "transact", unavailable)
            raise ValueError("in the block")
        assert caught.value.__notes__ == ["the lock 'job' could not be released: gone"]
