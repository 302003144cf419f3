"""Leases of locks on every store: their end, renewal, and fences."""

from datetime import timedelta

import pytest
from backends import IN_THE_STATE

from sharedstate import LockLost
from sharedstate.locks.held import checked_lease
from sharedstate.stores.operations import Increment


def is_free(state, name="job"):
    """Whether the lock could be acquired; it is free again after that if it was."""
    lock = state.lock(name)
    if not lock.try_acquire():
        return False
    lock.release()
    return True


class TestLease:
    def test_ends(self, state, clock):
        """A lock that is not released comes free when its lease ends, and not before."""
        state.lock("job", lease=100).acquire()
        clock.advance(90)
        assert not is_free(state)
        clock.advance(20)
        assert is_free(state)

    def test_default(self, state, clock):
        """A lease is 30 seconds unless told."""
        state.lock("job").acquire()
        clock.advance(20)
        assert not is_free(state)
        clock.advance(20)
        assert is_free(state)

    @IN_THE_STATE
    def test_wrong(self, state):
        """A lease is a hundredth of a second to a day."""
        for lease in [0, 0.009, -1, 24 * 3600 + 1, float("nan"), float("inf")]:
            with pytest.raises(ValueError, match="lease"):
                state.lock("job", lease=lease)
            lock = state.lock("job").acquire()
            with pytest.raises(ValueError, match="lease"):
                lock.renew(lease)
            lock.release()

    @IN_THE_STATE
    def test_wrong_type(self, state):
        """A lease is a number."""
        for lease in ["5", None, [1]]:
            with pytest.raises(TypeError):
                state.lock("job", lease=lease)

    def test_begins_when_it_is_held(self, state, clock, monkeypatch):
        """A lease begins when the lock is confirmed, however long the fence took."""
        transact = state.store.transact

        def slow(keys, operation):
            if type(operation) is Increment:
                clock.advance(60)
            return transact(keys, operation)

        monkeypatch.setattr(state.store, "transact", slow)
        state.lock("job", lease=100).acquire()
        monkeypatch.undo()
        clock.advance(80)
        assert not is_free(state)
        clock.advance(30)
        assert is_free(state)

    def test_no_default_timeout(self, state, clock):
        """A lock ends with its lease, whatever the state's default timeout is."""
        state.default_timeout = 10
        state.lock("job", lease=100).acquire()
        clock.advance(50)
        assert not is_free(state)


class TestRenew:
    def test_prolongs(self, state, clock):
        """A lock that is renewed is held for another lease from then on."""
        lock = state.lock("job", lease=100).acquire()
        for _ in range(3):
            clock.advance(80)
            lock.renew()
        clock.advance(90)
        assert not is_free(state)
        clock.advance(20)
        assert is_free(state)

    def test_other_lease(self, state, clock):
        """A renewal may be longer or shorter than the lease."""
        lock = state.lock("job", lease=100).acquire()
        lock.renew(1000)
        clock.advance(500)
        assert not is_free(state)
        lock.renew(10)
        clock.advance(20)
        assert is_free(state)

    def test_keeps_token_and_fence(self, state):
        """A renewal changes neither token nor fence."""
        lock = state.lock("job").acquire()
        before = lock.token, lock.fence
        lock.renew()
        assert (lock.token, lock.fence) == before
        lock.release()

    def test_too_late(self, state, clock):
        """A lock whose lease has ended cannot be renewed, and is not held any more."""
        lock = state.lock("job", lease=100).acquire()
        clock.advance(110)
        with pytest.raises(LockLost):
            lock.renew()
        assert lock.token is None
        assert is_free(state)

    def test_another_holds_it(self, state, clock):
        """A late renewal does not prolong another's lock."""
        late = state.lock("job", lease=100).acquire()
        clock.advance(110)
        state.lock("job", lease=100).acquire()
        with pytest.raises(LockLost):
            late.renew(1000)
        clock.advance(110)
        assert is_free(state)

    def test_never_acquired(self, state):
        """A lock that was never acquired cannot be renewed."""
        with pytest.raises(LockLost):
            state.lock("job").renew()
        assert is_free(state)


class TestFence:
    def test_grows(self, state):
        """Each holder's fence is higher than all before."""
        fences = []
        for _ in range(5):
            with state.lock("job") as lock:
                fences.append(lock.fence)
        assert fences == sorted(set(fences))
        assert fences[0] > 0

    def test_grows_after_a_lost_lease(self, state, clock):
        """The holder after one that lost its lease has the higher fence."""
        late = state.lock("job", lease=100).acquire()
        clock.advance(110)
        with state.lock("job") as lock:
            assert lock.fence > late.fence

    def test_stays_for_good(self, state, clock):
        """Fences grow on after a long time, whatever the default timeout."""
        state.default_timeout = 10
        with state.lock("job") as lock:
            first = lock.fence
        clock.advance(90 * 365 * 24 * 3600)
        with state.lock("job") as lock:
            assert lock.fence > first

    def test_lease_ends_before_it_is_drawn(self, state, clock, monkeypatch):
        """Who loses the lease before the lock is confirmed does not hold it, and frees no other's.

        Otherwise a client stopped in between would hold a lower fence than the next one.
        """
        transact, calls = state.store.transact, []
        second = state.lock("job", lease=100)

        def pausing(keys, operation):
            calls.append(operation)
            result = transact(keys, operation)
            if len(calls) == 1:
                clock.advance(110)
                assert second.try_acquire()
            return result

        lock = state.lock("job", lease=100)
        monkeypatch.setattr(state.store, "transact", pausing)
        assert lock.try_acquire() is False
        assert lock.token is None
        monkeypatch.undo()
        assert not is_free(state)
        second.release()


def test_a_lease_is_a_number():
    """Anything else is refused with what a lease is, as a ``timedelta``."""
    for lease in (timedelta(seconds=30), "30", None):
        with pytest.raises(TypeError, match="a lease is a number of seconds"):
            checked_lease(lease)
