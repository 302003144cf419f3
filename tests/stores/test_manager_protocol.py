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

from sharedstate import ValueTooLarge
from sharedstate.stores.manager import loop as manager_loop
from sharedstate.stores.manager.client import Connection, Refused
from sharedstate.stores.manager.endpoints import Local
from sharedstate.stores.manager.operations import dump_operation, load_operation
from sharedstate.stores.manager.protocol import (
    GREETING,
    INSTANCE_BYTES,
    MAX_REQUEST_BYTES,
    NONCE_BYTES,
    PROOF_BYTES,
    BadMessage,
    pack,
    proof,
    unpack,
)
from sharedstate.stores.manager.store import ManagerStore
from sharedstate.stores.memory import MemoryStore
from sharedstate.stores.operations import Batch, Get, Increment, Once, Operation, Put, Swap


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
            assert peer.ask(pack(("ping",))) == [None, None]


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


def _exactly(source: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        received += source.recv(size - len(received)) or pytest.fail("it ended too early")
    return received


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
        with pytest.raises((OSError, EOFError, multiprocessing.AuthenticationError)):
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
            "alone": len(bomb).to_bytes(4, "big") + bytes(4) + bomb,
            "value": pack(("transact", [b"a"], ["Put", bomb, 0])),
            "operation": pack(("transact", [b"a"], bomb)),
            "request": pack((bomb, [b"a"])),
        }
        with closing(served.authenticated()) as peer:
            if place == "value":
                assert peer.ask(requests[place]) == [None, None]
                assert peer.ask(pack(("read", [b"a"])))[1][0][0] == bomb
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
            *(("transact", [b"a"], ["Batch", [1, ["Get"]]]),),
            *(("transact", [b"a"], ["Batch", [-1, ["Get"]]]),),
            *(("transact", [b"a"], ["Batch", [0, ["Batch"]]]),),
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
            greeting = _exactly(client, len(GREETING) + NONCE_BYTES)
            mine = bytes(NONCE_BYTES)
            introduction = mine + proof(b"key", b"client", greeting[len(GREETING) :] + mine)
            client.sendall(introduction)
            assert _exactly(client, INSTANCE_BYTES + PROOF_BYTES).startswith(served.server.instance)
        with served.unauthenticated() as client:
            _exactly(client, len(GREETING) + NONCE_BYTES)
            client.sendall(introduction)
            assert client.recv(1) == b""
        served.assert_serves()

    def test_a_managers_proof_that_comes_again(self, served: Served, tmp_path: Path) -> None:
        """A peer that has overheard a handshake cannot pass for the manager."""
        false = tmp_path / "false"
        heard: list[bytes] = []

        def relay(client: socket.socket) -> None:
            with served.unauthenticated() as manager:
                for source, sink, size in (
                    (manager, client, len(GREETING) + NONCE_BYTES),
                    (client, manager, NONCE_BYTES + PROOF_BYTES),
                    (manager, client, INSTANCE_BYTES + PROOF_BYTES),
                ):
                    heard.append(_exactly(source, size))
                    sink.sendall(heard[-1])

        def replay(client: socket.socket) -> None:
            client.sendall(heard[0])
            _exactly(client, NONCE_BYTES + PROOF_BYTES)
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
            peer._socket.sendall(message[: 3 * size])
        with served.unauthenticated() as client:
            client.sendall(b"half")
            served.assert_serves()
        for size, peer in enumerate(peers, 1):
            assert peer.ask(message[3 * size :]) == [None, None]
            peer.close()

    def test_client_that_does_not_read(self, served: Served) -> None:
        """A client that leaves a long reply unread keeps nobody waiting, and gets it later."""
        value = os.urandom(8 << 20)
        with closing(served.authenticated()) as peer:
            peer.ask(pack(("transact", [b"a"], ["Put", value, 0])))
            peer._socket.sendall(pack(("read", [b"a"])))
            served.assert_serves()
            assert unpack(peer._rest(peer._socket.recv(1)))[1][0][0] == value
            assert peer.ask(pack(("ping",))) == [None, None]

    def test_too_long(self, served: Served) -> None:
        """A message that says it is too long is not waited for, and we send none."""
        with closing(served.authenticated()) as peer, pytest.raises(OSError):
            peer.ask((MAX_REQUEST_BYTES + 1).to_bytes(4, "big") + bytes(4))
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
                assert peer.ask(pack(("ping",))) == [None, None]
                peer.close()
            served.assert_serves()

    def test_mistake(self, served: Served, capfd: pytest.CaptureFixture[str]) -> None:
        """A mistake of the manager's own is logged, and costs one connection only."""
        served.server.store.ping = lambda: 1 / 0  # type: ignore[method-assign,assignment]
        with closing(served.authenticated()) as peer, pytest.raises(OSError):
            peer.ask(pack(("ping",)))
        assert "ZeroDivisionError" in capfd.readouterr().err
        del served.server.store.ping
        served.assert_serves()


BLOBS = st.binary(max_size=40)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | BLOBS,
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


class TestMessages:
    @given(DATA)
    def test_there_and_back(self, data: Any) -> None:
        """Data comes out as it went in."""
        assert unpack(pack(data)) == data

    @given(st.binary(min_size=8) | st.binary().map(lambda noise: pack([]) + noise))
    def test_noise(self, noise: bytes) -> None:
        """Anything else is data too, or a bad message."""
        try:
            unpack(noise)
        except BadMessage:
            pass

    @pytest.mark.parametrize(
        "text", [b'[{"":-1}]', b'[{"":9}]', b'[{"x":1}]', b'[{"":1.5}]', b"[" * 100_000, b"{}"]
    )
    def test_wrong_lengths(self, text: bytes) -> None:
        """Lengths that are not those of the bytes are bad, and so is depth."""
        with pytest.raises(BadMessage):
            unpack(len(text).to_bytes(4, "big") + bytes(4) + text)

    @pytest.mark.parametrize(
        ("operation", "records"),
        [
            (Put(b"\0\xff", 1.5), 1),
            (Swap(None, b"", -1.0, 0.0), 1),
            (Once(Increment(-5, maximum=7), b"print"), 2),
            (Batch([(1, Get()), (0, Increment(2**63 - 1, -(2**63)))]), 2),
        ],
        ids=lambda operation: type(operation).__name__,
    )
    def test_operations(self, operation: Operation, records: int) -> None:
        """An operation is the same at the other end."""
        dumped = dump_operation(operation)
        loaded = load_operation(unpack(pack(dumped)), records)
        assert type(loaded) is type(operation)
        assert dump_operation(loaded) == dumped

    @given(DATA, st.integers(0, 3))
    def test_other_operations(self, data: Any, records: int) -> None:
        """What describes no operation is a bad message."""
        with pytest.raises(BadMessage):
            load_operation(data, records)
