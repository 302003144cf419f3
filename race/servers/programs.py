"""Redis, memcached, etcd and our manager: programs that strategies keep their state in.

Each is started anew for every race, empty, on a free port or in its directory.
"""

from __future__ import annotations

import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from tempfile import NamedTemporaryFile
from typing import Any

from .processes import HOST, reserved_port, running
from .recipes import find_program

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0


@dataclass(frozen=True)
class Program:
    """A program beside the server.

    :param names: of which the first that is installed is started.
    :param arguments: what follows on its command line, with the fields ``{port}`` and
        ``{directory}``.
    :param address: what applications are told, with the same fields.
    :param path: of the socket it listens at, if it is not a port.
    """

    names: tuple[str, ...]
    arguments: str
    address: str
    path: str = ""


PROGRAMS = {
    "redis": Program(
        ("redis-server", "valkey-server"),
        f"--bind {HOST} --port {{port}} --save '' --appendonly no --dir {{directory}}",
        f"redis://{HOST}:{{port}}/0",
    ),
    "memcached": Program(
        ("memcached",),
        # As root it wants to be told which user to become.
        f"-l {HOST} -p {{port}} -U 0 -M{' -u root' if os.getuid() == 0 else ''}",
        f"{HOST}:{{port}}",
    ),
    "etcd": Program(
        ("etcd",),
        f"--data-dir {{directory}}/etcd --listen-client-urls http://{HOST}:{{port}}"
        f" --advertise-client-urls http://{HOST}:{{port}}"
        # It is alone, and nobody has to know where it listens for others.
        f" --listen-peer-urls http://{HOST}:0 --initial-advertise-peer-urls http://{HOST}:0"
        f" --initial-cluster default=http://{HOST}:0 --logger zap --log-level error",
        f"etcd://{HOST}:{{port}}",
    ),
    "manager": Program(
        (sys.executable,),
        "-c 'from sharedstate.stores.manager.store import run_manager; "
        'run_manager(dict(CACHE_URL="manager://{directory}/manager"))\'',
        "manager://{directory}/manager",
        path="{directory}/manager",
    ),
}


def missing_program(name: str) -> str | None:
    """What has to be installed first; None when it can start."""
    names = PROGRAMS[name].names
    return None if any(map(find_program, names)) else names[0]


@contextmanager
def program(name: str, directory: Path) -> Iterator[str]:
    """The address of a program that runs until the end of the block.

    :param directory: its own, empty.
    :raises RuntimeError: it did not start.
    """
    recipe = PROGRAMS[name]
    executable = next(filter(None, map(find_program, recipe.names)))
    with ExitStack() as stack:
        log = stack.enter_context(NamedTemporaryFile(prefix=f"{name}-"))
        port = stack.enter_context(reserved_port())
        fields = {"port": str(port), "directory": str(directory)}
        arguments = [word.format(**fields) for word in shlex.split(recipe.arguments)]
        env = os.environ | {"PYTHONPATH": python_path()}
        process = stack.enter_context(running([executable, *arguments], log, env=env))
        listener = recipe.path.format(**fields) or (HOST, port)
        _wait_until(lambda: _listens(listener), process, Path(log.name))
        yield recipe.address.format(**fields)


def python_path(directory: Path = ROOT) -> str:
    """``PYTHONPATH`` with a directory at its end, to be found from wherever the race is run."""
    return os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(directory)]))


def _listens(address: Any) -> bool:
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0


def _wait_until(condition: Callable[[], bool], process: Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not start: {log.read_text()}")
        time.sleep(0.01)
