"""How each WSGI server is started: its command line, by name."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass

# `flask run` has no option for processes.
_FLASK_PROCESSES = """
import pkgutil, sys
from werkzeug.serving import run_simple
host, port, target = sys.argv[1:]
run_simple(host, int(port), pkgutil.resolve_name(target)(), processes=10, threaded=False)
"""

# No configuration file from the working directory, and no control socket, which all gunicorns of
# a user would share. A connection that idles between two rounds stays open.
_GUNICORN = (
    f"-m gunicorn --config {os.devnull} --no-control-socket --bind {{host}}:{{port}}"
    " --backlog 1024 --keep-alive 75 --graceful-timeout 2 {target}()"
)

# Ends the server when whoever started it dies, even by SIGKILL. `preexec_fn` could do that too,
# but is unsafe in a process with threads. 1 is PR_SET_PDEATHSIG of prctl(2), 15 is SIGTERM.
_FOLLOW_PARENT = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@dataclass(frozen=True)
class Recipe:
    """How a server is started, so that 100 clients can connect to it at once.

    :param needs: the packages that have to be installed.
    :param arguments: what follows ``python`` on the command line, as a shell would read it, with
        the fields ``{host}``, ``{port}`` and ``{target}`` ("module:factory").
    """

    needs: tuple[str, ...]
    arguments: str


SERVERS = {
    "flask-threaded": Recipe(
        ("flask",), "-m flask --app {target}() run --host {host} --port {port} --with-threads"
    ),
    "flask-processes": Recipe(
        ("flask",), f"-c {shlex.quote(_FLASK_PROCESSES)} {{host}} {{port}} {{target}}"
    ),
    "gunicorn-sync": Recipe(("gunicorn",), f"{_GUNICORN} --worker-class sync --workers 4"),
    "gunicorn-gthread": Recipe(
        ("gunicorn",), f"{_GUNICORN} --worker-class gthread --workers 2 --threads 8"
    ),
    "gunicorn-gevent": Recipe(
        ("gunicorn", "gevent"), f"{_GUNICORN} --worker-class gevent --workers 2"
    ),
    "granian": Recipe(
        ("granian",),
        "-m granian --interface wsgi --factory --host {host} --port {port} --workers 2"
        " --blocking-threads 1 --http 1 --no-ws --backlog 1024"
        # A worker that is told to stop while it starts would never end.
        " --workers-kill-timeout 2 {target}",
    ),
    "waitress": Recipe(
        ("waitress",),
        "-m waitress --host {host} --port {port} --backlog 1024 --connection-limit 1000"
        " --call {target}",
    ),
}


def command(name: str, target: str, host: str, port: int) -> list[str]:
    """The command line that starts a server, with the Python that runs this.

    :param target: "module:factory"; a "()" at its end changes nothing.
    :raises KeyError: there is no such server.
    """
    fields = {"host": host, "port": port, "target": target.removesuffix("()")}
    arguments = [word.format(**fields) for word in shlex.split(SERVERS[name].arguments)]
    return [sys.executable, "-c", _FOLLOW_PARENT, *arguments]
