"""What is sent to Redis for an operation: by itself, or in a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Keys = Sequence[bytes]


@dataclass(slots=True)
class Command:
    """A command of Redis'.

    :param options: what redis-py has to know to read its reply.
    """

    words: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, client: Any) -> Any:
        """The reply."""
        return client.execute_command(*self.words, **self.options)

    def queue(self, pipe: Any, loaded: set[str]) -> None:
        """Put it into a pipeline."""
        pipe.execute_command(*self.words, **self.options)


@dataclass(slots=True)
class Script:
    """A script of ``lua/`` on the keys.

    :param script: as redis-py has registered it.
    """

    script: Any
    keys: Keys
    arguments: tuple[Any, ...]

    def run(self, client: Any) -> Any:
        """The reply; a server that does not know the script gets it first."""
        return self.script(self.keys, self.arguments, client)

    def queue(self, pipe: Any, loaded: set[str]) -> None:
        """Put it into a pipeline: by its digest if it is among those loaded, which it is then.

        redis-py would ask the server which ones it knows, each time.
        """
        digest, is_known = self.script.sha, self.script.sha in loaded
        loaded.add(digest)
        run, text = (pipe.evalsha, digest) if is_known else (pipe.eval, self.script.script)
        run(text, len(self.keys), *self.keys, *self.arguments)


Request = Command | Script
