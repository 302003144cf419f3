"""What a manager does with clients that are strange, slow or hostile, and with what they send."""

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
from hypothesis import given
from hypothesis import strategies as st
from managers import SECONDS

from sharedstate import ValueTooLarge, errors
from sharedstate.stores.manager import loop as manager_loop
from sharedstate.stores.manager.client import Connection, Refused
from sharedstate.stores.manager.endpoints import Local
from sharedstate.stores.manager.messages import (
    Failure,
    Result,
    Transact,
    call_from,
    dumped,
    replies,
)
from sharedstate.stores.manager.protocol import (
    MAX_HANDSHAKE_BYTES,
    MAX_REQUEST_BYTES,
    NONCE_BYTES,
    BadMessage,
    Claim,
    greetings,
    pack,
    proof,
    size_of,
    unpack,
    welcomes,
)
from sharedstate.stores.manager.store import ManagerStore
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


class Bomb:
    """What runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


class Served:
    """A manager in a thread of this process, and clients that do as they like."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        self.server = manager_loop.Server(listener, b"key", MemoryStore(), **options)
        self.thread = threading.Thread(target=self.server.serve)

    def __enter__(self) -> Served:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.stop()
        self.thread.join()

    def unauthenticated(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(SECONDS)
        client.connect(str(self.path))
        return client

    def authenticated(self, timeout: float = SECONDS) -> Connection:
        return Connection(self.path, lambda: b"key", timeout)

    def assert_serves(self) -> None:
        with closing(self.authenticated()) as peer:
            assert result(peer, ("ping",)) is None


def result(peer: Connection, request: tuple[Any, ...]) -> Any:
    reply = peer.ask(pack(request))
    assert isinstance(reply, Result)
    return reply.value


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
    while (size := size_of(received)) != len(received):
        missing = 1 if size is None else size - len(received)
        received += source.recv(missing) or pytest.fail("it ended too early")
    return bytes(received)


def _accept_one(listener: socket.socket, behave: Callable[[socket.socket], None]) -> None:
    client, _ = listener.accept()
    with client:
        behave(client)


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
            "value": pack(("transact", [b"a"], ("Put", bomb, 0))),
            "operation": pack(("transact", [b"a"], bomb)),
            "request": pack((bomb, [b"a"])),
        }
        with closing(served.authenticated()) as peer:
            if place == "value":
                peer.ask(requests[place])
                assert result(peer, ("read", [b"a"]))[0][0] == bomb
            else:
                with pytest.raises(OSError):
                    peer.ask(requests[place])
        assert not (tmp_path / "exploded").exists()
        served.assert_serves()

    @pytest.mark.parametrize(
        "request_",
        [
            *((), ("",), ("describe",), ("__init__",), ("ping", 1), ("clear",), ("clear", "text")),
            *(("read", b"a"), ("read", ["a"]), ("page", b"", 5, 1), ("page", b"", None, 0)),
            *(("transact", [b"a"], ["Operation"]), ("transact", [b"a"], ["Put", "text", 0])),
            *(("transact", [b"a"], ["Put", b"", float("nan")]), ("transact", [], ["Get"])),
            *(("transact", [b"a", b"b"], ["Get"]), ("transact", [b"a"], ["Put", b"", True])),
            *(("transact", [b"a"], ["Increment", 1, 0, 0, 0, 2**63]),),
            *(("transact", [b"a"], ["Increment", 1.0, 0, 0, 0, 9]),),
            *(("transact", [b"a"], ["Batch", [[1, ["Get"]]], None]),),
            *(("transact", [b"a"], ["Batch", [[-1, ["Get"]]], None]),),
            *(("transact", [b"a"], ["Batch", [[0, ["Batch", [], None]]], None]),),
            *(("transact", [b"a", b"b"], ["Once", ["Get"], b"x"]),),
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
            greeting = unpack(_message(client), greetings)
            mine = bytes(NONCE_BYTES)
            claim = pack(Claim(mine, proof(b"key", b"client", greeting.nonce + mine)))
            client.sendall(claim)
            welcome = unpack(_message(client), welcomes)
            assert welcome.instance == served.server.instance
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
                    heard.append(_message(source))
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
        message = pack(("ping",))
        peers = [served.authenticated() for _ in range(5)]
        for size, peer in enumerate(peers, 1):
            peer._socket.sendall(message[: 2 * size])
        with served.unauthenticated() as client:
            client.sendall(b"\0\0\0")
            served.assert_serves()
        for size, peer in enumerate(peers, 1):
            assert isinstance(peer.ask(message[2 * size :]), Result)
            peer.close()

    def test_client_that_does_not_read(self, served: Served) -> None:
        """A client that leaves a long reply unread keeps nobody waiting, and gets it later."""
        value = os.urandom(8 << 20)
        with closing(served.authenticated()) as peer:
            peer.ask(pack(("transact", [b"a"], ["Put", value, 0])))
            peer._socket.sendall(pack(("read", [b"a"])))
            served.assert_serves()
            reply = unpack(_message(peer._socket), replies)
            assert isinstance(reply, Result) and reply.value[0][0] == value
            assert result(peer, ("ping",)) is None

    def test_client_that_asks_on(self, served: Served) -> None:
        """A client gets no second reply before it has read a long first one."""
        with closing(served.authenticated()) as peer:
            peer.ask(pack(("transact", [b"a"], ["Put", os.urandom(8 << 20), 0])))
            peer._socket.sendall(pack(("read", [b"a"])))
            served.assert_serves()
            peer._socket.sendall(pack(("clear", b"a")))
            served.assert_serves()
            served.assert_serves()
            assert served.server.store.read([b"a"]) != [None]
            assert isinstance(unpack(_message(peer._socket), replies), Result)
            assert isinstance(unpack(_message(peer._socket), replies), Result)
            assert served.server.store.read([b"a"]) == [None]

    def test_too_long(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        """A message that says it is too long is not waited for, and we send none."""
        monkeypatch.setattr(manager_loop, "AUTHENTICATION_SECONDS", 10 * SECONDS)
        with closing(served.authenticated()) as peer, pytest.raises(OSError):
            peer.ask((MAX_REQUEST_BYTES - 3).to_bytes(4, "big"))
        with served.unauthenticated() as client:
            client.sendall((MAX_HANDSHAKE_BYTES - 3).to_bytes(4, "big"))
            assert is_dropped(client)
        store = ManagerStore(Local(served.path, 1))
        with pytest.raises(ValueTooLarge):
            store.transact((b"a",), Put(bytes(MAX_REQUEST_BYTES), 0))

    def test_two_at_once(self, served: Served) -> None:
        """A client that does not wait for its reply is dropped."""
        with closing(served.authenticated()) as peer, pytest.raises(OSError):
            peer.ask(2 * pack(("ping",)))
            peer.ask(pack(("ping",)))

    def test_many_unauthenticated_peers(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When too many peers are unauthenticated, the first of them are dropped."""
        monkeypatch.setattr(manager_loop, "MAX_UNAUTHENTICATED", 3)
        monkeypatch.setattr(manager_loop, "AUTHENTICATION_SECONDS", 10 * SECONDS)
        clients = [served.unauthenticated() for _ in range(5)]
        assert all(map(is_dropped, clients[:2]))
        served.assert_serves()
        for client in clients:
            client.close()

    def test_silent_unauthenticated_peer(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A peer that does not authenticate itself is dropped in time."""
        monkeypatch.setattr(manager_loop, "AUTHENTICATION_SECONDS", 0.1)
        with served.unauthenticated() as client:
            assert is_dropped(client)

    def test_too_many(self, tmp_path: Path) -> None:
        """One more than there is room for is an error; those inside stay."""
        with Served(tmp_path / "socket", max_connections=3) as served:
            peers = [served.authenticated() for _ in range(3)]
            with pytest.raises(OSError, match="full"):
                served.authenticated()
            for peer in peers:
                assert result(peer, ("ping",)) is None
                peer.close()
            served.assert_serves()

    def test_mistake(self, served: Served, caplog: pytest.LogCaptureFixture) -> None:
        """A mistake of the manager's own is logged, and costs one connection only."""
        served.server.store.ping = lambda: 1 / 0  # type: ignore[method-assign,assignment]
        with closing(served.authenticated()) as peer, pytest.raises(OSError):
            peer.ask(pack(("ping",)))
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


class TestMessages:
    @given(DATA)
    def test_results(self, data: Any) -> None:
        """A result comes out as it went in."""
        assert unpack(pack(Result(data, 1.5)), replies) == Result(data, 1.5)

    @given(st.binary() | DATA.map(lambda data: pack(data)[4:]))
    def test_noise(self, noise: bytes) -> None:
        """What is no request is a bad message, however deep or long it says it is."""
        for text in (noise, b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
            with pytest.raises(BadMessage):
                call_from(bytes(4) + text)

    @pytest.mark.parametrize("text", [b"", b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xc0\xc0"])
    def test_replies_that_are_none(self, text: bytes) -> None:
        """A manager's noise is a bad message too."""
        for begin in (b"", b"\x93\xa6Result"):
            with pytest.raises(BadMessage):
                unpack(bytes(4) + begin + text, replies)

    @pytest.mark.parametrize(
        ("operation", "records"),
        [
            *((Get(), 1), (Remove(), 1), (Put(b"\0\xff", 1.5), 1), (Exchange(b"", 0), 1)),
            *((Add(b"x", 2), 1), (Touch(3), 1), (Swap(None, b"", -1.0, 0.0), 1)),
            (Once(Increment(-5, maximum=7), b"print"), 2),
            (Batch([(1, Get()), (0, Increment(2**63 - 1, -(2**63)))]), 2),
        ],
        ids=lambda operation: type(operation).__name__,
    )
    def test_operations(self, operation: Operation, records: int) -> None:
        """An operation is the same at the other end."""
        keys = [b"%d" % number for number in range(records)]
        method, arguments = call_from(pack(Transact(keys, dumped(operation))))
        assert (method, arguments[0]) == ("transact", keys)
        assert type(arguments[1]) is type(operation)
        assert dumped(arguments[1]) == dumped(operation)

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
        failure = unpack(pack(Failure.of(error)), replies)
        assert isinstance(failure, Failure)
        loaded = failure.error()
        assert (type(loaded), str(loaded), loaded.step) == (type(error), str(error), step)
        for name in ("minimum", "maximum", "limit"):
            assert getattr(loaded, name, None) == getattr(error, name, None)
