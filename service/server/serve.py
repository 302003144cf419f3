"""``python app.py``: serves the application with Granian."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flask import Config, Flask
from granian import Granian
from granian.constants import HTTPModes, Interfaces, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels

from common import cache
from sharedstate import ConfigurationError, State
from sharedstate.cache import warn_of_processes

from .. import logs
from ..access import has_tokens, is_loopback
from ..tallies import temporary_directory
from . import rsgi
from .restarts import Server, exit_on_signals, keep_running
from .waiting import WAITERS

logger = logging.getLogger(__name__)

# More threads hand the GIL around while one of them holds the store's lock; a networked store
# leaves the processor idle while it is asked.
THREADS_EMBEDDED = 1
THREADS_NETWORKED = 4
KILL_SECONDS = 5
BACKLOG = 1024


def main(create_app: Callable[[], Flask], arguments: list[str] | None = None) -> None:
    """Serve an application until SIGTERM or Ctrl-C, which let the requests in flight finish.

    :param create_app: makes the application: once here, for what its settings say, and once in
        each worker. A function of a module, which also a worker that is not forked can import.
    :param arguments: those of the command line; without them, the process's own.
    :raises SystemExit: with one line that says what is wrong with the settings, or that no worker
        could start.
    """
    exit_on_signals()
    options = _parse(arguments)
    if options.insecure:
        os.environ["FLASK_INSECURE"] = "true"
    os.environ.setdefault("FLASK_LOG_FORMAT", "text")
    try:
        app = create_app()
        _refuse_unprotected(app, options.host)
        with app.app_context():
            state = cache.state
            location = state.store.describe()["location"]
    except ConfigurationError as error:
        sys.exit(f"sharedstate: {error}")
    _refuse_port_in_use(options.host, options.port)
    shared = state.store.scope != "process"
    workers = options.workers or (_cores() if shared else 1)
    networked = state.store.scope == "network"
    threads = options.threads or (THREADS_NETWORKED if networked else THREADS_EMBEDDED)
    as_json = app.config["LOG_FORMAT"] == "json"
    announcement = _announcement(options, state, location, workers, threads)
    logger.info(announcement) if as_json else print(announcement, flush=True)
    if workers > 1 and not shared:
        warn_of_processes()
    os.environ["FLASK_WORKERS"] = str(workers)
    os.environ["FLASK_THREADS"] = str(threads)
    state.close()
    with _worker_files() as started:
        keep_running(
            lambda: _server(options, workers, app.config),
            partial(rsgi.create, create_app),
            started.exists,
        )


def _server(options: argparse.Namespace, workers: int, config: Config) -> Server:
    backlog = max(BACKLOG, 128 * workers)
    return Granian(
        "sharedstate",  # Only a name: the workers load what they serve by a function.
        address=options.host,
        port=options.port,
        interface=Interfaces.RSGI,
        runtime_mode=RuntimeModes.mt,
        runtime_threads=1,  # More do not run Python at the same time.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_milliseconds(config["HEADER_TIMEOUT"])),
        websockets=False,
        workers=workers,
        backlog=backlog,
        backpressure=backlog // workers + WAITERS,  # Those that wait take no place of others.
        respawn_failed_workers=True,
        # Granian's main process can wait for a worker for ever without it.
        workers_kill_timeout=KILL_SECONDS,
        log_enabled=True,
        log_level=LogLevels.warning,
        log_dictconfig=logs.configuration(config["LOG_FORMAT"]),
    )


def _milliseconds(seconds: float) -> int:
    return max(1, round(1000 * seconds))


@contextmanager
def _worker_files() -> Iterator[Path]:
    """The file that a worker makes when it is ready to serve.

    It is in a directory of this server's own, in which all workers count together if no other is
    set.
    """
    with temporary_directory() as directory:
        if not os.environ.get("FLASK_METRICS_DIR"):
            os.environ["FLASK_METRICS_DIR"] = str(directory)
        started = directory / "started"
        os.environ["FLASK_STARTED_FILE"] = str(started)
        yield started


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python app.py",
        description="Share values and counters over HTTP. Settings come from FLASK_… environment "
        "variables, such as FLASK_CACHE_TYPE=redis.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", type=_port, default=5000, help="port (%(default)s)")
    parser.add_argument(
        "--insecure", action="store_true", help="serve other machines without an API_TOKEN"
    )
    parser.add_argument("--workers", type=_positive, help="processes (one for each core)")
    parser.add_argument("--threads", type=_positive, help="threads of each process (by the store)")
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError("must be from 1 to 65535")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _refuse_unprotected(app: Flask, host: str) -> None:
    if not (is_loopback(host) or has_tokens(app) or app.config["INSECURE"]):
        raise ConfigurationError(
            f"--host {host} would let other machines read and change everything. Set "
            "FLASK_API_TOKEN to a long random text, or say --insecure if the network is safe"
        )


def _refuse_port_in_use(host: str, port: int) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        sys.exit(
            f"sharedstate: cannot listen on {host} port {port}: {error.strerror}; "
            "choose another with --port"
        )


def _announcement(
    options: argparse.Namespace, state: State, location: str, workers: int, threads: int
) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return (
        f"sharedstate on http://{host}:{options.port}"
        f"  ({workers} worker{'s' * (workers > 1)} × {threads} thread{'s' * (threads > 1)})\n"
        f"store: {state.store.name}, shared by {_SHARED_BY[state.store.scope]}, in {location}"
    )


_SHARED_BY = {
    "process": "the threads of one process",
    "host": "all processes of this host",
    "network": "all that reach it",
}
