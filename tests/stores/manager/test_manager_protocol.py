"""What a manager does with clients that are strange, slow or hostile."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from manager_clients import Served, accept_one, is_dropped, message_from, pack, result
from managers import SECONDS

from sharedstate import ValueTooLarge
from sharedstate.stores.manager import server as manager_server
from sharedstate.stores.manager.client import Connection
from sharedstate.stores.manager.local import Local
from sharedstate.stores.manager.store import ManagerStore
from sharedstate.stores.manager.wire import (
    MAX_HANDSHAKE_BYTES,
    MAX_REQUEST_BYTES,
    NONCE_BYTES,
    Refused,
    framed,
    proof,
    replied,
    request,
    request_to,
)
from sharedstate.stores.operations import (
    Put,
)


class Bomb:
    """What runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path / "socket") as served:
        yield served


BAD_STEPS = [
    *((1, ("Remove", {})), ("0", ("Remove", {})), (0, "Remove"), (0, ("parse_counter", {}))),
    *((0, ("Put", {"value": "text", "timeout": 0})), (0, {})),
]


class TestHostileClients:
    def test_pickles_of_an_unauthenticated_peer(self, served: Served, tmp_path: Path) -> None:
        """What comes before the authkey is never unpickled."""
        bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
        for begin in (b"", bytes(64), len(bomb).to_bytes(4, "big")):
            with served.unauthenticated() as client:
                client.sendall(begin + bomb)
                assert is_dropped(client)
        with pytest.raises(
            (OSError, EOFError, AssertionError, multiprocessing.AuthenticationError)
        ):
            multiprocessing.connection.Client(str(served.path), authkey=b"key")
        assert not (tmp_path / "exploded").exists()
        served.assert_serves()

    @pytest.mark.parametrize("place", ["alone", "value", "operation", "request"])
    def test_pickles_of_an_authenticated_peer(
        self, served: Served, tmp_path: Path, place: str
    ) -> None:
        """Nor is what comes after it: a value is bytes, and anything else refused."""
        bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
        requests = {
            "alone": len(bomb).to_bytes(4, "big") + bomb,
            "value": request_to(Put(bomb, 0), [b"a"]),
            "operation": pack(("Put", ([b"a"], bomb))),
            "request": pack((bomb, [[b"a"]])),
        }
        with closing(served.authenticated()) as peer:
            if place == "value":
                peer.ask(requests[place])
                assert result(peer, ("read", [[b"a"]]))[0][0] == bomb
            else:
                with pytest.raises(OSError):
                    peer.ask(requests[place])
        assert not (tmp_path / "exploded").exists()
        served.assert_serves()

    @pytest.mark.parametrize(
        "request_",
        [
            *((), ("",), ("describe", []), ("__init__", []), ("ping", [1]), ("ping", [], 1)),
            *(("clear", []), ("clear", ["text"]), ("read", [b"a"]), ("read", [["text"]])),
            *(("page", [b"", 5, 1]), ("page", [b"", None]), ("transact", [[b"a"], {}])),
            *(("Operation", [[b"a"], {}]), ("Put", [[b"a"]]), ("Put", [[b"a"], {"value": b""}])),
            *(("Put", [[b"a"], {"value": each, "timeout": 0}]) for each in ("text", None, 5)),
            *(("Put", [[b"a"], {"value": b"", "timeout": each}]) for each in (True, b"", None)),
            *(
                ("Get", [[], {}]),
                ("Remove", [[b"a", b"b"], {}]),
                ("Increment", [[b"a"], {"delta": 1.0}]),
            ),
            *(("Batch", [[b"a"], {"steps": [each]}]) for each in BAD_STEPS),
            ("Once", [[b"a", b"b"], {"increment": {}, "fingerprint": b"x"}]),
        ],
        ids=repr,
    )
    def test_unknown_requests(self, served: Served, request_: tuple[Any, ...]) -> None:
        """A peer that sends an unknown request is dropped, and nothing has happened."""
        with closing(served.authenticated()) as peer, pytest.raises(OSError):
            peer.ask(pack(request_))
        assert served.server.store.page(b"", None, 9) == ([], None)
        served.assert_serves()

    def test_noise(self, served: Served) -> None:
        """Noise is dropped, before the authkey and after it."""
        for noise in (b"\0" * 100, b"\xff" * 100, b"GET / HTTP/1.0\r\n\r\n" * 10):
            with served.unauthenticated() as client:
                client.sendall(noise)
                assert is_dropped(client)
            with closing(served.authenticated()) as peer, pytest.raises(OSError):
                peer.ask(noise)
        served.assert_serves()

    def test_a_proof_that_comes_again(self, served: Served) -> None:
        """What a client proved itself with on one connection opens no other one."""
        with served.unauthenticated() as client:
            nonce, mine = message_from(client)[-NONCE_BYTES:], bytes(NONCE_BYTES)
            claim = framed(mine + proof(b"key", b"client", nonce + mine))
            client.sendall(claim)
            assert message_from(client).startswith(served.server.instance)
        with served.unauthenticated() as client:
            message_from(client)
            client.sendall(claim)
            assert is_dropped(client)
        served.assert_serves()

    def test_a_managers_proof_that_comes_again(self, served: Served, tmp_path: Path) -> None:
        """A peer that has overheard a handshake cannot pass for the manager."""
        false = tmp_path / "false"
        heard: list[bytes] = []

        def relay(client: socket.socket) -> None:
            with served.unauthenticated() as manager:
                for source, sink in ((manager, client), (client, manager), (manager, client)):
                    heard.append(framed(message_from(source)))
                    sink.sendall(heard[-1])

        def replay(client: socket.socket) -> None:
            client.sendall(heard[0])
            message_from(client)
            client.sendall(heard[2])

        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(false))
            listener.listen()
            for behave in (relay, replay):
                thread = threading.Thread(target=accept_one, args=(listener, behave))
                thread.start()
                try:
                    if behave is relay:
                        Connection(false, lambda: b"key", SECONDS).close()
                    else:
                        with pytest.raises(Refused, match="authkey"):
                            Connection(false, lambda: b"key", SECONDS)
                finally:
                    thread.join()

    def test_half_messages(self, served: Served) -> None:
        """Clients that are silent in the middle of a message keep nobody waiting."""
        message = request("ping")
        peers = [served.authenticated() for _ in range(5)]
        for size, peer in enumerate(peers, 1):
            peer._socket.sendall(message[: 2 * size])
        with served.unauthenticated() as client:
            client.sendall(b"\0\0\0")
            served.assert_serves()
        for size, peer in enumerate(peers, 1):
            assert replied(peer.ask(message[2 * size :])).result() is None
            peer.close()

    def test_each_request_has_its_time(self, served: Served) -> None:
        """What was left of the time for the last message is not the next request's."""
        with closing(served.authenticated()) as peer:
            assert peer._socket.gettimeout() != SECONDS
            assert result(peer, ("ping", [])) is None
            assert peer._socket.gettimeout() == SECONDS

    def test_client_that_does_not_read(self, served: Served) -> None:
        """A client that leaves a long reply unread keeps nobody waiting, and gets it later."""
        value = os.urandom(8 << 20)
        with closing(served.authenticated()) as peer:
            peer.ask(request_to(Put(value, 0), [b"a"]))
            peer._socket.sendall(request("read", [b"a"]))
            served.assert_serves()
            assert replied(message_from(peer._socket)).result()[0][0] == value
            assert result(peer, ("ping", [])) is None

    def test_client_that_asks_on(self, served: Served) -> None:
        """A client that asks for more before it has read a long reply is dropped."""
        with closing(served.authenticated()) as peer:
            peer.ask(request_to(Put(os.urandom(8 << 20), 0), [b"a"]))
            peer._socket.sendall(request("read", [b"a"]))
            served.assert_serves()
            peer._socket.sendall(request("clear", b"a"))
            assert is_dropped(peer._socket)
            assert served.server.store.read([b"a"]) != [None]

    def test_too_long(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        """A message that says it is too long is not waited for, and we send none."""
        monkeypatch.setattr(manager_server, "AUTHENTICATION_SECONDS", 10 * SECONDS)
        with closing(served.authenticated()) as peer, pytest.raises(OSError):
            peer.ask((MAX_REQUEST_BYTES + 1).to_bytes(4, "big"))
        with served.unauthenticated() as client:
            client.sendall((MAX_HANDSHAKE_BYTES + 1).to_bytes(4, "big"))
            assert is_dropped(client)
        store = ManagerStore(Local(served.path, 1))
        with pytest.raises(ValueTooLarge):
            store.transact((b"a",), Put(bytes(MAX_REQUEST_BYTES), 0))

    def test_two_at_once(self, served: Served) -> None:
        """A client that does not wait for its reply is dropped."""
        with closing(served.authenticated()) as peer, pytest.raises(OSError):
            peer.ask(2 * request("ping"))
            peer.ask(request("ping"))

    def test_many_unauthenticated_peers(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When too many peers are unauthenticated, the first of them are dropped."""
        monkeypatch.setattr(manager_server, "MAX_UNAUTHENTICATED", 3)
        monkeypatch.setattr(manager_server, "AUTHENTICATION_SECONDS", 10 * SECONDS)
        clients = [served.unauthenticated() for _ in range(5)]
        assert all(map(is_dropped, clients[:2]))
        served.assert_serves()
        for client in clients:
            client.close()

    def test_silent_unauthenticated_peer(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A peer that does not authenticate itself is dropped in time."""
        monkeypatch.setattr(manager_server, "AUTHENTICATION_SECONDS", 0.1)
        with served.unauthenticated() as client:
            assert is_dropped(client)

    def test_too_many(self, served: Served) -> None:
        """One more than there is room for is an error; those inside stay."""
        served.server.room = 3
        peers = [served.authenticated() for _ in range(3)]
        with pytest.raises(OSError):
            served.authenticated()
        for peer in peers:
            assert result(peer, ("ping", [])) is None
            peer.close()
        served.assert_serves()

    def test_mistake(self, served: Served, caplog: pytest.LogCaptureFixture) -> None:
        """A mistake of the manager's own is logged, and costs one connection only."""
        served.server.store.ping = lambda: 1 / 0  # type: ignore[method-assign,assignment]
        with closing(served.authenticated()) as peer, pytest.raises(OSError):
            peer.ask(request("ping"))
        assert "ZeroDivisionError" in caplog.text
        del served.server.store.ping
        served.assert_serves()
