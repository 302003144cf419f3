"""An etcd cluster of three on this host, of the benchmark's own."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from race.servers.processes import HOST, reserved_port, running
from race.servers.recipes import find_program

START_SECONDS = 20
_MEMBERS = ("a", "b", "c")


@contextmanager
def etcd_cluster(directory: Path) -> Iterator[str | None]:
    """Its URL on free ports, or None where etcd is not installed."""
    executable = find_program("etcd")
    if executable is None:
        yield None
        return
    with ExitStack() as stack:
        ports = {name: stack.enter_context(reserved_port()) for name in _MEMBERS}
        peers = {name: f"http://{HOST}:{stack.enter_context(reserved_port())}" for name in _MEMBERS}
        for name in _MEMBERS:
            client = f"http://{HOST}:{ports[name]}"
            log = stack.enter_context(open(directory / f"etcd-{name}.log", "wb"))
            command = [
                *(executable, "--name", name, "--data-dir", str(directory / f"etcd-{name}")),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peers[name], "--initial-advertise-peer-urls", peers[name]),
                *("--initial-cluster", ",".join(f"{one}={url}" for one, url in peers.items())),
                *("--logger", "zap", "--log-level", "error"),
            ]
            stack.enter_context(running(command, log, patience=0.5))
        _wait_for(ports["a"])
        yield "etcd://" + ",".join(f"{HOST}:{port}" for port in ports.values())


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    body = json.dumps({"key": "YQ=="}).encode()
    while True:
        try:
            urllib.request.urlopen(f"http://{HOST}:{port}/v3/kv/range", body, timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise RuntimeError("etcd did not start") from None
        time.sleep(0.02)
