"""How each WSGI server is started: its command line, by name."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from .scope import Scope

# `flask run` has no option for processes.
_FLASK_PROCESSES = """
import pkgutil, sys
from werkzeug.serving import run_simple
host, port, target = sys.argv[1:]
run_simple(host, int(port), pkgutil.resolve_name(target)(), processes=10, threaded=False)
"""

_FLASK = "{python} -m flask --app {target}() run --host {host} --port {port}"

# The race's configuration instead of one in the working directory.
_OWN_GUNICORN = "{python} -m gunicorn --config {config} --bind {host}:{port} {target}()"
# A connection that idles between two rounds stays open.
_GUNICORN = f"{_OWN_GUNICORN} --backlog 1024 --keep-alive 75 --graceful-timeout 2"


@dataclass(frozen=True)
class Recipe:
    """How a server is started, so that 100 clients can connect to it at once.

    :param needs: the packages that have to be installed.
    :param command: the command line, as a shell would read it, with the fields ``{python}``,
        ``{program}``, ``{host}``, ``{port}``, ``{target}`` ("module:factory"), ``{prefix}``,
        the directory of the environment that Python is in, and ``{config}``, gunicorn's file.
    :param scope: how far state has to reach to be the same for all requests.
    :param workers: how many processes serve; 0 if it is not known.
    :param threads: how many requests a process works on at a time; None: as many as there are.
    :param title: what people call it.
    :param program: the program it is, if it is not started by Python.
    """

    needs: tuple[str, ...]
    command: str
    scope: Scope = Scope.HOST
    workers: int = 1
    threads: int | None = 1
    title: str = ""
    program: str = ""

    @property
    def is_serial(self) -> bool:
        """Whether requests come one after the other, so that nothing can race."""
        return self.workers == 1 and self.threads == 1


SERVERS = {
    "flask-single": Recipe(
        ("flask",),
        f"{_FLASK} --without-threads",
        scope=Scope.PROCESS,
        title="flask run --without-threads",
    ),
    "flask-threaded": Recipe(
        ("flask",),
        f"{_FLASK} --with-threads",
        scope=Scope.PROCESS,
        threads=None,
        title="flask run",
    ),
    "flask-processes": Recipe(
        ("flask",),
        f"{{python}} -c {shlex.quote(_FLASK_PROCESSES)} {{host}} {{port}} {{target}}",
        scope=Scope.FORK,
        workers=10,
        title="app.run(processes=10)",
    ),
    "gunicorn-sync": Recipe(
        ("gunicorn",),
        f"{_GUNICORN} --worker-class sync --workers 4",
        workers=4,
        title="gunicorn sync ×4",
    ),
    "gunicorn-preload": Recipe(
        ("gunicorn",),
        f"{_GUNICORN} --worker-class sync --workers 4 --preload",
        scope=Scope.FORK,
        workers=4,
        title="gunicorn sync ×4 --preload",
    ),
    "gunicorn-gthread": Recipe(
        ("gunicorn",),
        f"{_GUNICORN} --worker-class gthread --workers 2 --threads 8",
        workers=2,
        threads=8,
        title="gunicorn gthread 2×8",
    ),
    "gunicorn-gevent": Recipe(
        ("gunicorn", "gevent"),
        f"{_GUNICORN} --worker-class gevent --workers 2",
        workers=2,
        threads=None,
        title="gunicorn gevent ×2",
    ),
    "granian": Recipe(
        ("granian",),
        "{python} -m granian --interface wsgi --factory --host {host} --port {port} --workers 2"
        " --blocking-threads 1 --http 1 --no-ws --backlog 1024"
        # A worker that is told to stop while it starts would never end.
        " --workers-kill-timeout 2 {target}",
        workers=2,
        title="granian ×2",
    ),
    "waitress": Recipe(
        ("waitress",),
        "{python} -m waitress --host {host} --port {port} --backlog 1024 --connection-limit 1000"
        " --call {target}",
        scope=Scope.PROCESS,
        threads=4,
        title="waitress, 4 threads",
    ),
    "uwsgi": Recipe(
        (),
        "{program} --no-orphans --die-on-term --master --need-app --disable-logging"
        # It forks its workers when it has loaded the application.
        " --http-socket {host}:{port} --listen 100 --processes 4 --enable-threads"
        # It closes each connection and does not say so.
        " --add-header 'Connection: close'"
        " --virtualenv {prefix} --pythonpath . --module {target}()",
        scope=Scope.FORK,
        workers=4,
        title="uWSGI ×4",
        program="uwsgi",
    ),
}


OWN_GUNICORN = "gunicorn-config"
RUNNING = "running"

# What the reader brings along; what is not known of it is taken to be what state has to reach.
_OTHERS = {
    OWN_GUNICORN: Recipe(
        ("gunicorn",), _OWN_GUNICORN, workers=0, threads=None, title="gunicorn, own configuration"
    ),
    RUNNING: Recipe((), "", workers=0, threads=None, title="the server that runs"),
}


def add_recipe(name: str, recipe: Recipe) -> None:
    """Let a server be started by a name that is not among the race's."""
    _OTHERS[name] = recipe


def recipe_of(name: str) -> Recipe:
    """The recipe of a server, also of one that the reader brings along.

    :raises KeyError: there is no such server.
    """
    return SERVERS[name] if name in SERVERS else _OTHERS[name]


def missing(name: str, python: str = sys.executable) -> str | None:
    """The first thing that the server needs and that is not installed; None when it can start.

    :param python: the Python that starts it.
    :raises KeyError: there is no such server.
    """
    recipe = recipe_of(name)
    if recipe.program and find_program(recipe.program, python) is None:
        return recipe.program
    return next((package for package in recipe.needs if not has(package, python)), None)


def has(package: str, python: str = sys.executable) -> bool:
    """Whether a package or module is installed, beside this Python or another one."""
    if python != sys.executable:
        return _other_has(package, python)
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # it is a part of what is not installed
        return False


@cache
def _other_has(package: str, python: str) -> bool:
    done = subprocess.run(
        [python, "-c", f"import {package}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return done.returncode == 0


def command(
    name: str, target: str, host: str, port: int, python: str = sys.executable
) -> list[str]:
    """The command line that starts a server.

    :param target: "module:factory"; a "()" at its end changes nothing.
    :param python: the Python that starts it, with the packages beside it.
    :raises KeyError: there is no such server.
    """
    recipe = recipe_of(name)
    fields = {
        "python": python,
        "config": str(Path(__file__).with_name("gunicorn_config.py")),
        "prefix": str(Path(python).parents[1]),
        "program": find_program(recipe.program, python) or recipe.program,
        "host": host,
        "port": str(port),
        "target": target.removesuffix("()"),
    }
    return [word.format(**fields) for word in shlex.split(recipe.command)]


def find_program(name: str, python: str = sys.executable) -> str | None:
    """The path of a program, beside Python or on the ``PATH``."""
    beside = str(Path(python).parent)
    return shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
