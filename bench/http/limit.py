"""A static response of the Granian that serves the service, over the same way: the limit, 1.00."""

from __future__ import annotations

from typing import Any

from service.overrides import take_shortcut

BODY = b'{"key":"count-0","value":123456}\n'
HEADERS = [("content-type", "application/json"), ("cache-control", "no-store")]


class Limit:
    """An application of RSGI."""

    def __rsgi_init__(self, loop: Any) -> None:
        take_shortcut(take)

    async def __rsgi__(self, scope: Any, client: Any) -> None:
        respond(scope, client)


def respond(scope: Any, client: Any) -> None:
    client.response_bytes(200, HEADERS, BODY)


def take(request: Any) -> bool:
    respond(request.scope, request.proto)
    request.done()
    return True


app = Limit()
