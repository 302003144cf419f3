"""What a memcached server cannot hold."""

from __future__ import annotations

import pytest
from memcached_servers import Telnet, memcached_server, state_at

from sharedstate import (
    ConfigurationError,
    State,
    StoreFull,
    ValueTooLarge,
)

# What a server cannot hold.


def test_too_large() -> None:
    """A value over the server's item size is refused with that size, and the old one stays."""
    large = "x" * ((1 << 20) - 2)
    with memcached_server() as server, state_at(server.port) as state:
        state.set("a", "old")
        for write in (
            lambda: state.set("a", large),
            lambda: state.exchange("a", large),
            lambda: state.compare_and_set("a", "old", large),
            lambda: state.add("new", large),
        ):
            with pytest.raises(ValueTooLarge, match="option -I") as caught:
                write()
            assert (caught.value.size, caught.value.limit) == (1 << 20, 1 << 20)
            assert state.get_many("a", "new") == ["old", None]
        assert state.set("a", large[:1_000_000])


def fill(state: State) -> list[str]:
    """Set values until the server refuses one; returns the keys that it has."""
    kept = []
    for number in range(10_000):
        key = f"{number:04}"
        try:
            state.set(key, "x" * 2000)
        except StoreFull:
            return kept
        kept.append(key)
    raise AssertionError("never full")


def test_full() -> None:
    """A full server that does not evict refuses writes, keeps what it has, and can be emptied."""
    with memcached_server("-M", "-m", "2") as server, state_at(server.port) as state:
        state.set("n", 1)
        kept = fill(state)
        value = "x" * 2000
        for key in kept[:50]:
            for write in (
                lambda key=key: state.set(key, value),
                lambda key=key: state.exchange(key, value),
                lambda key=key: state.compare_and_set(key, value, value),
                lambda: state.add("new", value),
            ):
                with pytest.raises(StoreFull, match="out of memory"):
                    write()
        assert [key for key in kept if state.get(key) != value] == []
        assert state.inc("n") == 2
        with Telnet(server.port) as telnet:  # Why there is no `set`.
            assert telnet.ask(f"set test:{kept[1]} 0 0 2000\r\n{value}").startswith(b"SERVER_ERR")
            assert telnet.get(f"test:{kept[1]}") is None
        assert state.delete(kept[0])
        assert state.set("new", value)
        state.clear()
        assert fill(state)


def test_without_m_it_evicts() -> None:
    """Started without ``-M``, a server forgets what was used least: hence the page on stores."""
    with memcached_server("-m", "2") as server, state_at(server.port) as state:
        state.set("n", 41)
        for number in range(3000):
            state.set(f"{number}", "x" * 2000)
        assert not state.has("0")


def test_without_cas() -> None:
    """A server that keeps no versions is a wrong setting, and nothing is changed."""
    with memcached_server("-C") as server, state_at(server.port) as state:
        state.set("a", 1)
        for operation in (state.get, state.delete):
            with pytest.raises(ConfigurationError, match="-C"):
                operation("a")
