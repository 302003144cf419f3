"""What a manager does with clients that are strange, slow or hostile, and with what they send."""

from __future__ import annotations

import asyncio
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
from hypothesis import given
from hypothesis import strategies as st
from managers import SECONDS

from sharedstate import ValueTooLarge, errors
from sharedstate.stores.manager import server as manager_server
from sharedstate.stores.manager.client import Connection
from sharedstate.stores.manager.local import Local
from sharedstate.stores.manager.store import ManagerStore
from sharedstate.stores.manager.wire import (
    MAX_HANDSHAKE_BYTES,
    MAX_REQUEST_BYTES,
    NONCE_BYTES,
    Refused,
    Reply,
    framed,
    message_in,
    msgspec,
    proof,
    replied,
    reply,
    request,
    request_to,
    requested,
)
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import (
    Add,
    Batch,
    Exchange,
    Get,
    Increment,
    Once,
    Operation,
    Put,
    Remove,
    Swap,
    Touch,
)

_pack = msgspec.msgpack.encode


class Bomb:
    """What runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


class Served:
    """A manager in a thread of this process, and clients that do as they like."""

    def __init__(self, path: Path) -> None:
        self.path = path
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        self.server = manager_server.Server(listener, b"key", MemoryStore())
        self.thread = threading.Thread(target=asyncio.run, args=(self._serve(),))

    def __enter__(self) -> Served:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.loop.call_soon_threadsafe(self.server.stopped.set)
        self.thread.join()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self.server.serve()

    def unauthenticated(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(SECONDS)
        client.connect(str(self.path))
        return client

    def authenticated(self, timeout: float = SECONDS) -> Connection:
        return Connection(self.path, lambda: b"key", timeout)

    def assert_serves(self) -> None:
        with closing(self.authenticated()) as peer:
            assert result(peer, ("ping", [])) is None


def result(peer: Connection, request: tuple[Any, ...]) -> Any:
    return replied(peer.ask(pack(request))).result()


def pack(data: Any) -> bytes:
    return framed(_pack(data))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path / "socket") as served:
        yield served


def is_dropped(client: socket.socket) -> bool:
    """Whether the server has nothing more to say to a client."""
    try:
        while client.recv(1000):
            pass
    except ConnectionResetError:
        pass
    return True


def _message(source: socket.socket) -> bytes:
    received = bytearray()
    while (message := message_in(received, MAX_REQUEST_BYTES)) is None:
        received += source.recv(1 if len(received) < 4 else 1 << 16) or pytest.fail("it ended")
    return message


def _accept_one(listener: socket.socket, behave: Callable[[socket.socket], None]) -> None:
    client, _ = listener.accept()
    with client:
        behave(client)


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
            nonce, mine = _message(client)[-NONCE_BYTES:], bytes(NONCE_BYTES)
            claim = framed(mine + proof(b"key", b"client", nonce + mine))
            client.sendall(claim)
            assert _message(client).startswith(served.server.instance)
        with served.unauthenticated() as client:
            _message(client)
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
                    heard.append(framed(_message(source)))
                    sink.sendall(heard[-1])

        def replay(client: socket.socket) -> None:
            client.sendall(heard[0])
            _message(client)
            client.sendall(heard[2])

        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(false))
            listener.listen()
            for behave in (relay, replay):
                thread = threading.Thread(target=_accept_one, args=(listener, behave))
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
            assert replied(_message(peer._socket)).result()[0][0] == value
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


DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


class _Raising(MemoryStore):
    """A store whose every operation ends in one error."""

    def __init__(self, error: errors.SharedStateError) -> None:
        super().__init__()
        self.error = error

    def ping(self) -> None:
        raise self.error


class TestMessages:
    @given(DATA)
    def test_results(self, data: Any) -> None:
        """A result comes out as it went in."""
        assert replied(_pack(Reply(1.5, data))) == Reply(1.5, data)

    @given(st.binary() | DATA.map(_pack))
    def test_noise(self, noise: bytes) -> None:
        """What is no request is a bad message, however deep or long it says it is."""
        for text in (noise, b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
            with pytest.raises(Refused):
                requested(text)

    @pytest.mark.parametrize("text", [b"", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc0\xc0"])
    def test_replies_that_are_none(self, text: bytes) -> None:
        """A manager's noise is a bad message too."""
        for begin in (b"", b"\x92\x01"):
            with pytest.raises(Refused):
                replied(begin + text)

    @pytest.mark.parametrize(
        ("operation", "records"),
        [
            *((Get(), 1), (Remove(), 1), (Put(b"\0\xff", 1.5), 1), (Exchange(b"", 0.0), 1)),
            *((Add(b"x", 2.0), 1), (Touch(3.0), 1), (Swap(None, b"", -1.0, 0.0), 1)),
            (Once(Increment(-5, timeout=1.5, maximum=7), b"print"), 2),
            (Batch([(1, Get()), (0, Increment(2**63 - 1, -(2**63), 0.0))]), 2),
        ],
        ids=lambda operation: type(operation).__name__,
    )
    def test_operations(self, operation: Operation, records: int) -> None:
        """An operation is the same at the other end."""
        keys = [b"%d" % number for number in range(records)]
        method, arguments = requested(request_to(operation, keys)[4:])
        assert (method, arguments[0]) == ("transact", keys)
        assert repr(arguments[1]) == repr(operation)

    @pytest.mark.parametrize(
        "error",
        [
            *(errors.InvalidKey("a"), errors.NotACounter("b"), errors.NotSupported("c")),
            *(errors.StoreFull("d"), errors.TokenReused("e"), errors.ResultTooLarge(5)),
            errors.OutOfBounds(-(2**63), 2**63 - 1),
        ],
        ids=lambda error: type(error).__name__,
    )
    @pytest.mark.parametrize("step", [None, 0, 7])
    def test_errors(self, error: errors.SharedStateError, step: int | None) -> None:
        """An error is the same at the other end, with its step and its attributes."""
        error.step = step
        with pytest.raises(type(error)) as caught:
            replied(reply(_Raising(error), "ping", [])[4:]).result()
        assert str(caught.value) == str(error)
        assert vars(caught.value) == vars(error)
