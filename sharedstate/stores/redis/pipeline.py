"""Operations of several callers in one pipeline: each has its own reply, or its own error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import SharedStateError, StoreUnavailable
from ..operations import Operation
from ..support.drivers import import_driver
from .commands import Commands
from .requests import Keys, Request

Step = tuple[Keys, Operation]
Explained = Callable[[Exception, Operation], SharedStateError]


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas have to confirm a write, and how many milliseconds they have for it."""

    number: int
    patience: int

    def wait(self, client: Any) -> None:
        """Have what the client wrote before confirmed.

        :raises StoreUnavailable: if too few did in time; the write is applied and may be lost.
        """
        if error := self.doubt(client.wait(self.number, self.patience)):
            raise error

    def doubt(self, reply: Any) -> StoreUnavailable | None:
        """The error of a write that the reply to WAIT does not confirm."""
        if isinstance(reply, Exception):
            return StoreUnavailable(f"no replica was asked: {reply}", outcome_unknown=True)
        if reply >= self.number:
            return None
        return StoreUnavailable(
            f"{reply} of {self.number} replicas (CACHE_REDIS_WAIT) confirmed the write in time",
            outcome_unknown=True,
        )


class Pipeline:
    """Commands that are sent together and one time.

    There is no MULTI: commands of others may come in between. If the connection breaks, nothing
    is known of any of them, and redis-py's error is raised.

    :param loaded: the digests of the scripts that the server has, as far as is known.
    :param replicas: that have to confirm what is written, if any have to.
    """

    def __init__(
        self, client: Any, commands: Commands, loaded: set[str], replicas: Replicas | None
    ) -> None:
        self._client = client
        self._commands = commands
        self._loaded = loaded
        self._replicas = replicas
        errors = import_driver("redis").exceptions
        self._no_script, self._failure = errors.NoScriptError, errors.RedisError

    def each(self, steps: Sequence[Step], explained: Explained) -> list[Any]:
        """The results of the operations, an error for one that was refused.

        One whose script the server has forgotten is done after the others.
        """
        requests = [
            (operation, self._commands.request(keys, operation)) for keys, operation in steps
        ]
        replies = self._replies(requests)
        late = [i for i, reply in enumerate(replies) if isinstance(reply, self._no_script)]
        if late:
            self._loaded.clear()
            try:
                again = self._replies([requests[i] for i in late])
            except self._failure as error:
                # The others have their replies.
                again = [error] * len(late)
            for i, reply in zip(late, again, strict=True):
                replies[i] = reply
        return [
            self._outcome(operation, reply, explained)
            for (operation, _), reply in zip(requests, replies, strict=True)
        ]

    def _replies(self, requests: Sequence[tuple[Operation, Request]]) -> list[Any]:
        replicas = self._replicas if any(operation.writes for operation, _ in requests) else None
        loaded = self._loaded.copy()
        with self._client.pipeline(transaction=False) as pipe:
            for _, request in requests:
                request.queue(pipe, loaded)
            if replicas:
                pipe.wait(replicas.number, replicas.patience)
            replies: list[Any] = pipe.execute(raise_on_error=False)
        self._loaded |= loaded
        if replicas and replicas.doubt(confirmed := replies.pop()):
            return [
                replicas.doubt(confirmed)
                if operation.writes and not isinstance(reply, Exception)
                else reply
                for (operation, _), reply in zip(requests, replies, strict=True)
            ]
        return replies

    def _outcome(self, operation: Operation, reply: Any, explained: Explained) -> Any:
        if isinstance(reply, SharedStateError):
            return reply
        if isinstance(reply, Exception):
            refusal = explained(reply, operation)
            refusal.__cause__ = reply
            return refusal
        try:
            return self._commands.result(operation, reply)
        except SharedStateError as error:
            return error
