"""A proxy between clients and a server that can hold, delay and cut what is sent.

``python -m torture.servers.proxy PORT`` prints the port at which it listens, and reads commands
from its standard input, one a line: ``pass``, ``hold``, ``slow SECONDS`` or ``half``. It ends with
its input.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress

from race.servers.processes import HOST
from race.servers.programs import python_path

PASS, HOLD, SLOW, HALF = "pass", "hold", "slow", "half"


class Proxy:
    """The proxy, a process of its own that no checker slows down."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": python_path()},
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def behave(self, mode: str, seconds: float = 0) -> None:
        """Let all through (`PASS`), hold all back until then (`HOLD`), let each piece through after
        a time (`SLOW`), or let half of a response through and cut the connection (`HALF`)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(mode, seconds, file=self._process.stdin, flush=True)
        self._process.stdout.readline()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait()


class _Relay:
    def __init__(self, port: int) -> None:
        self._port = port
        self._mode, self._seconds = PASS, 0.0
        self._flows = asyncio.Event()
        self._flows.set()

    def execute(self, line: str) -> None:
        self._mode, seconds = line.split()
        self._seconds = float(seconds)
        if self._mode == HOLD:
            self._flows.clear()
        else:
            self._flows.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_writer = None
        try:
            await self._flows.wait()
            far_reader, far_writer = await asyncio.open_connection(HOST, self._port)
            there = asyncio.create_task(self._pump(reader, far_writer, False))
            back = asyncio.create_task(self._pump(far_reader, writer, True))
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        except OSError:
            pass
        finally:
            for end in (writer, far_writer):
                if end is not None:
                    end.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, is_response: bool
    ) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                await self._flows.wait()
                if self._mode == SLOW:
                    await asyncio.sleep(self._seconds)
                if self._mode == HALF and is_response:
                    sink.write(data[: len(data) // 2])
                    await sink.drain()
                    return
                sink.write(data)
                await sink.drain()


async def _main(port: int) -> None:
    relay = _Relay(port)
    server = await asyncio.start_server(relay.serve, HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        relay.execute(line)
        print("done", flush=True)
    os._exit(0)  # With the connections that are open.


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(int(sys.argv[1])))
