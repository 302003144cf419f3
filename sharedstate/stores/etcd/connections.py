"""Connections to one member, made when they are needed and kept for the next use.

They are the standard library's: of the processor a request takes a quarter of what urllib3 takes
for it, and where all count on one key a request is most of what this process does for etcd.
Connecting and sending are apart here, so that it is known whether anything was sent.
"""

from __future__ import annotations

import select
import ssl
from collections import deque
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from ...errors import ConfigurationError
from ..support.addresses import Address, shown
from .errors import Again, NotReached

_KEPT = 64
_OPTIONS = ("ca_certs", "cert_file", "key_file", "key_password")


def tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """Whom to trust, and what to show.

    :param options: ``ca_certs``, a file of certificates to trust instead of the system's;
        ``cert_file``, ``key_file`` and ``key_password`` of a client's own certificate.
    :raises ConfigurationError: there is another option, or a file cannot be read.
    """
    if unknown := sorted(options.keys() - set(_OPTIONS)):
        raise ConfigurationError(
            f"CACHE_OPTIONS has {', '.join(unknown)}; etcd takes {', '.join(_OPTIONS)}"
        )
    try:
        context = ssl.create_default_context(cafile=options.get("ca_certs"))
        if "cert_file" in options:
            context.load_cert_chain(
                options["cert_file"], options.get("key_file"), options.get("key_password")
            )
    except (OSError, TypeError) as error:
        raise ConfigurationError(f"CACHE_OPTIONS: {error}") from error
    return context


class Connections:
    """Those to one member.

    :param context: for TLS; without it nothing is encrypted.
    """

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        self._address = address
        self._context = context
        self._idle: deque[HTTPConnection] = deque()
        self._is_closed = False

    def post(
        self, path: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> tuple[int, bytes]:
        """The status and the body of a response.

        :param seconds: how long to wait for the connection, and for each part of the response.
        :raises NotReached: nothing was sent.
        :raises Again: it may have arrived.
        """
        connection = self._connection(seconds)
        try:
            connection.request("POST", path, body, headers)
            response = connection.getresponse()
            reply = response.status, response.read()
        except (HTTPException, OSError) as error:
            connection.close()
            raise Again(f"{self._where()}: {error!r}", may_be_applied=True) from error
        except BaseException:  # What comes over it next belongs to this request.
            connection.close()
            raise
        self._keep(connection)
        return reply

    def close(self) -> None:
        """Close those that are idle; one that is in use is closed after it."""
        self._is_closed = True
        while self._idle:
            try:
                self._idle.popleft().close()
            except IndexError:
                return

    def _connection(self, seconds: float) -> HTTPConnection:
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                break
            if not _was_dropped(connection):
                connection.sock.settimeout(seconds)
                return connection
            connection.close()
        return self._connected(seconds)

    def _connected(self, seconds: float) -> HTTPConnection:
        host, port = self._address
        connection = (
            HTTPConnection(host, port, timeout=seconds)
            if self._context is None
            else HTTPSConnection(host, port, timeout=seconds, context=self._context)
        )
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise NotReached(f"{self._where()}: {error}") from error
        return connection

    def _keep(self, connection: HTTPConnection) -> None:
        if connection.sock is None or len(self._idle) >= _KEPT:
            connection.close()
            return
        self._idle.append(connection)
        if self._is_closed:
            self.close()

    def _where(self) -> str:
        return shown([self._address])


def _was_dropped(connection: HTTPConnection) -> bool:
    """Whether the member has closed it meanwhile: nothing else can be there to be read."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
