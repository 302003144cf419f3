"""What lies between the members of a cluster, and can cut one of them off from the others."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_FROM = re.compile(rb"X-Server-From: *([0-9a-f]+)", re.I)


class Way:
    """The way to one member for the others; each says in its requests who it is."""

    def __init__(self, listener: socket.socket, port: int) -> None:
        self._listener = listener
        self._port = port
        self._cut: set[bytes] = set()
        self._all_cut = False
        self._open: list[tuple[bytes, socket.socket, socket.socket]] = []
        self._lock = threading.Lock()

    def cut(self, sender: str | None = None) -> None:
        """Let nothing of a sender through, or nothing at all."""
        with self._lock:
            if sender is None:
                self._all_cut = True
            else:
                self._cut.add(sender.encode())
            for name, *ends in self._open:
                if sender is None or name == sender.encode():
                    for end in ends:
                        with suppress(OSError):
                            end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._cut, self._all_cut = set(), False

    def accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            first = near.recv(1 << 16)
            found = _FROM.search(first)
            sender = found[1] if found else b""
            with socket.create_connection(("127.0.0.1", self._port)) as far:
                entry = (sender, near, far)
                with self._lock:
                    if self._all_cut or sender in self._cut:
                        return
                    self._open.append(entry)
                try:
                    far.sendall(first)
                    back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                    back.start()
                    _pump(near, far)
                    back.join()
                finally:
                    with self._lock:
                        self._open.remove(entry)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def way_to(port: int) -> Iterator[tuple[Way, int]]:
    """A way to a port of this host, and the port at which it begins."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        way = Way(listener, port)
        thread = threading.Thread(target=way.accept)
        thread.start()
        try:
            yield way, listener.getsockname()[1]
        finally:
            way.cut()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
