"""Managers at an address, and what is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from managers import foreground

from sharedstate import ConfigurationError, State, StoreUnavailable
from sharedstate.stores.manager.store import run_manager
from sharedstate.stores.manager.wire import NONCE_BYTES, PROTOCOL, framed
from sharedstate.stores.registry import open_store

AUTHKEY = "an authkey: p@ss/word"
QUOTED = "an%20authkey%3A%20p%40ss%2Fword"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a manager on the network."""
    with socket.socket() as holder:
        # Bound and never listening, it keeps the port from others; a server may bind beside it.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        with foreground(("127.0.0.1", port), AUTHKEY.encode()):
            yield port


class TestNetwork:
    def test_counts(self, port: int) -> None:
        """An address and an authkey lead to it, from any host, and are not shown."""
        for settings in (
            {"CACHE_URL": f"manager://:{QUOTED}@127.0.0.1:{port}"},
            {"CACHE_URL": f"manager://localhost:{port}", "CACHE_MANAGER_AUTHKEY": AUTHKEY},
        ):
            with closing(State.from_settings(settings)) as state:
                before = state.inc("n")
                assert state.inc("n") == before + 1
                assert state.store.scope == "network"
                described = state.store.describe()
                assert str(port) in described["location"] and "authkey" not in str(described)

    def test_wrong_authkey(self, port: int) -> None:
        """A wrong authkey is refused, and nothing has happened."""
        url = f"manager://:wrong@127.0.0.1:{port}"
        with closing(State.from_settings({"CACHE_URL": url})) as state:
            with pytest.raises(StoreUnavailable, match="authkey") as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
            assert "wrong@" not in str(caught.value)

    def test_never_started(self) -> None:
        """Where nobody listens, nothing is started."""
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            url = f"manager://:secret@127.0.0.1:{holder.getsockname()[1]}"
            store = open_store({"CACHE_URL": url})
            with pytest.raises(StoreUnavailable, match="not running") as caught:
                store.ping()
            assert "secret" not in str(caught.value)

    def test_silent_server(self) -> None:
        """A server that accepts and says nothing, or little by little, is an error in time."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"manager://:secret@127.0.0.1:{listener.getsockname()[1]}"
            store = open_store({"CACHE_URL": url, "CACHE_TIMEOUT": 0.2})
            with pytest.raises(StoreUnavailable, match="0.2 seconds"):
                store.ping()

    def test_impostor(self) -> None:
        """A server that does not know the authkey is not believed."""
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def pretend() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(framed(PROTOCOL + bytes(NONCE_BYTES)))
                    connection.recv(100)
                    connection.sendall(framed(bytes(16 + 32)))
                    connection.recv(100)

            thread = threading.Thread(target=pretend)
            thread.start()
            store = open_store({"CACHE_URL": f"manager://:k@127.0.0.1:{listener.getsockname()[1]}"})
            with pytest.raises(StoreUnavailable, match="does not know the authkey"):
                store.ping()
            thread.join()

    def test_another_version(self) -> None:
        """A manager of another version is not asked for anything."""
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def greet() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(framed(b"sharedstate manager 9" + bytes(NONCE_BYTES)))
                    assert connection.recv(100) == b""

            thread = threading.Thread(target=greet)
            thread.start()
            store = open_store({"CACHE_URL": f"manager://:k@127.0.0.1:{listener.getsockname()[1]}"})
            with pytest.raises(StoreUnavailable, match="not a manager of this version"):
                store.ping()
            thread.join()

    def test_something_else(self, redis_url: str) -> None:
        """A server of another kind is an error."""
        address = redis_url.partition("://")[2]
        store = open_store({"CACHE_URL": f"manager://:k@{address}", "CACHE_TIMEOUT": 0.2})
        with pytest.raises(StoreUnavailable):
            store.ping()

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("manager://localhost:7000", "CACHE_MANAGER_AUTHKEY"),
            ("manager://:key@localhost", "host:port"),
            ("manager://key@localhost:7000", "host:port"),
            ("manager://:key@:7000", "host:port"),
            ("manager://:key@localhost:70000", "CACHE_URL"),
            ("manager://:key@localhost:7000/path", "host:port"),
            ("manager:", "CACHE_DIR"),
        ],
    )
    def test_wrong_url(self, url: str, reason: str) -> None:
        """A URL that leads to no manager is an error that says what is missing."""
        with pytest.raises(ConfigurationError, match=reason) as caught:
            open_store({"CACHE_URL": url})
        assert "key@" not in str(caught.value).replace(":authkey@", "")

    def test_port_in_use(self, port: int) -> None:
        """Where something listens, no manager can."""
        with pytest.raises(ConfigurationError, match=str(port)):
            run_manager({"CACHE_URL": f"manager://:key@127.0.0.1:{port}"})
