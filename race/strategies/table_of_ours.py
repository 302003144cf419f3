"""The ways of sharing state that this project has."""

from __future__ import annotations

from ..servers.scope import Scope
from ..strategy import Ask, Judged, Origin, Strategy


def _ours(store: str, url: str, scope: Scope = Scope.HOST, **more) -> Strategy:
    """This project's `Cache.inc` on one of its stores."""
    env = {"FLASK_CACHE_URL": url}
    target = "race.strategies.ours:inc"
    return Strategy(
        f"ours-{store}", f"sharedstate: {store}", target, scope, env=env, origin=Origin.OURS, **more
    )


OURS = (
    _ours("simple", "simple:", scope=Scope.PROCESS),
    _ours("filesystem", "filesystem://{directory}"),
    _ours("lmdb", "lmdb://{directory}", needs=("lmdb",)),
    _ours("redis", "{address}", needs=("redis",), program="redis"),
    _ours("memcached", "memcached://{address}", program="memcached"),
    _ours("etcd", "{address}", program="etcd"),
    _ours("database", "sqlite:///{directory}/state.db", needs=("sqlalchemy",)),
    _ours("manager", "{address}", program="manager"),
    Strategy(
        "ours-object",
        "sharedstate: the question's object",
        "race.strategies.ours:shared_object",
        env={"FLASK_CACHE_URL": "filesystem://{directory}"},
        origin=Origin.OURS,
    ),
    Strategy(
        "ours-service",
        "sharedstate: the service",
        "app:create_app",
        env={"FLASK_CACHE_DIR": "{directory}"},
        origin=Origin.OURS,
        ask=Ask("POST", "/v1/counters/hits"),
    ),
    Strategy(
        "ours-session",
        "sharedstate, by session",
        "race.strategies.ours:inc_by_session",
        judged=Judged.EACH,
        env={"FLASK_CACHE_URL": "filesystem://{directory}"},
        origin=Origin.OURS,
    ),
    Strategy(
        "ours-session-parallel",
        "sharedstate, by session, requests at once",
        "race.strategies.ours:inc_by_session",
        judged=Judged.ONE,
        env={"FLASK_CACHE_URL": "filesystem://{directory}"},
        origin=Origin.OURS,
    ),
    Strategy(
        "ours-flask-session-parallel",
        "sharedstate.session, requests at once",
        "race.strategies.ours:flask_session",
        judged=Judged.ONE,
        env={"FLASK_CACHE_URL": "filesystem://{directory}"},
        origin=Origin.OURS,
    ),
)
