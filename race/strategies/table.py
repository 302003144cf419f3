"""The ways of sharing state that the question and its answers name, as people write them.

To add one, write its application in a module beside this one, and an entry into `STRATEGIES`. An
application returns the next number at ``/``; what it has to know stands in its environment.
"""

from __future__ import annotations

from ..servers.scope import Scope
from ..strategy import Judged, Strategy
from .table_of_ours import OURS

GET_THEN_SET = "two requests read the same number before either has written its own"
INC_IS_GET_THEN_SET = f"`inc` is a get and a set on this backend: {GET_THEN_SET}"
INTERRUPTED = (
    "`+= 1` reads, adds and writes: a thread that is interrupted between them repeats or skips a "
    "number. CPython with its GIL hardly ever switches threads just there, which nobody promises"
)
WHOLE_SESSION = (
    "a request reads the whole session when it starts and writes it when it ends, over what the "
    "client's other requests have written meanwhile"
)
REPLAYED = (
    "the state is in the cookie, and requests that are sent together carry the same one; an old "
    "cookie brings the old number back"
)
EMPTY = "`g` begins empty with each request"
NAME_GONE = "Flask-Caching knows this name of a backend no more"

OLD_FILES = {"FLASK_CACHE_TYPE": "filesystem", "FLASK_CACHE_DIR": "{directory}"}
FILES = {"FLASK_CACHE_TYPE": "FileSystemCache", "FLASK_CACHE_DIR": "{directory}"}
REDIS = {"FLASK_CACHE_TYPE": "RedisCache", "FLASK_CACHE_REDIS_URL": "{address}"}
MEMCACHED = {
    "FLASK_CACHE_TYPE": "MemcachedCache",
    "FLASK_CACHE_MEMCACHED_SERVERS": '["{address}"]',
}
SIMPLE = {"FLASK_CACHE_TYPE": "SimpleCache"}
DATABASE = {"DATABASE_URL": "sqlite:///{directory}/app.db"}
DIRECTORY = {"STATE_DIRECTORY": "{directory}"}
REDIS_URL = {"REDIS_URL": "{address}"}
MANAGER = {"MANAGER_HOST": "127.0.0.1", "MANAGER_PORT": "{port}"}


_LISTED = (
    Strategy(
        "global",
        "global variable",
        "race.strategies.memory:global_variable",
        scope=Scope.PROCESS,
        flaw=INTERRUPTED,
    ),
    Strategy(
        "singleton",
        "singleton object",
        "race.strategies.memory:singleton",
        scope=Scope.PROCESS,
        flaw=INTERRUPTED,
    ),
    Strategy(
        "global-lock",
        "global with threading.Lock",
        "race.strategies.memory:global_with_lock",
        scope=Scope.PROCESS,
    ),
    Strategy(
        "dict-by-session",
        "global dict by session, with expiry",
        "race.strategies.memory:dict_by_session",
        scope=Scope.PROCESS,
        judged=Judged.EACH,
    ),
    Strategy(
        "g",
        "g, of one request",
        "race.strategies.sessions:request_global",
        scope=Scope.REQUEST,
        flaw=EMPTY,
        judged=Judged.EACH,
    ),
    Strategy(
        "cookie", "cookie session", "race.strategies.sessions:cookie_session", judged=Judged.EACH
    ),
    Strategy(
        "cookie-parallel",
        "cookie session, requests at once",
        "race.strategies.sessions:cookie_session",
        scope=Scope.REQUEST,
        flaw=REPLAYED,
        judged=Judged.ONE,
    ),
    Strategy(
        "session-files",
        "Flask-Session, files",
        "race.strategies.sessions:flask_session_files",
        judged=Judged.EACH,
        needs=("flask_session",),
        env=DIRECTORY,
    ),
    Strategy(
        "session-files-parallel",
        "Flask-Session, files, requests at once",
        "race.strategies.sessions:flask_session_files",
        flaw=WHOLE_SESSION,
        judged=Judged.ONE,
        needs=("flask_session",),
        env=DIRECTORY,
    ),
    Strategy(
        "session-redis",
        "Flask-Session, Redis",
        "race.strategies.sessions:flask_session_redis",
        judged=Judged.EACH,
        needs=("flask_session", "redis"),
        program="redis",
        env=REDIS_URL,
    ),
    Strategy(
        "session-redis-parallel",
        "Flask-Session, Redis, requests at once",
        "race.strategies.sessions:flask_session_redis",
        flaw=WHOLE_SESSION,
        judged=Judged.ONE,
        needs=("flask_session", "redis"),
        program="redis",
        env=REDIS_URL,
    ),
    Strategy(
        "value", "multiprocessing.Value", "race.strategies.multiprocess:value", scope=Scope.FORK
    ),
    Strategy(
        "manager",
        "multiprocessing.Manager, with its lock",
        "race.strategies.multiprocess:manager",
        scope=Scope.FORK,
    ),
    Strategy(
        "manager-no-lock",
        "multiprocessing.Manager, without",
        "race.strategies.multiprocess:manager_without_lock",
        scope=Scope.FORK,
        flaw=GET_THEN_SET,
    ),
    Strategy(
        "manager-address",
        "multiprocessing.Manager at an address",
        "race.strategies.multiprocess:manager_by_address",
        env=MANAGER,
    ),
    Strategy(
        "sql-object",
        "SQLAlchemy object += 1",
        "race.strategies.database:read_modify_write",
        flaw=GET_THEN_SET,
        needs=("sqlalchemy",),
        env=DATABASE,
    ),
    Strategy(
        "sql-update",
        "SQLAlchemy UPDATE … + 1",
        "race.strategies.database:atomic_update",
        needs=("sqlalchemy",),
        env=DATABASE,
    ),
    Strategy(
        "get-set-recipe",
        'Flask-Caching get, set: "filesystem"',
        "race.strategies.caching:get_then_set",
        flaw=NAME_GONE,
        env=OLD_FILES,
    ),
    Strategy(
        "get-set-simple",
        "Flask-Caching get, set: SimpleCache",
        "race.strategies.caching:get_then_set",
        scope=Scope.PROCESS,
        flaw=GET_THEN_SET,
        env=SIMPLE,
    ),
    Strategy(
        "get-set-files",
        "Flask-Caching get, set: FileSystemCache",
        "race.strategies.caching:get_then_set",
        flaw=GET_THEN_SET,
        env=FILES,
    ),
    Strategy(
        "get-set-redis",
        "Flask-Caching get, set: RedisCache",
        "race.strategies.caching:get_then_set",
        flaw=GET_THEN_SET,
        needs=("redis",),
        program="redis",
        env=REDIS,
    ),
    Strategy(
        "get-set-memcached",
        "Flask-Caching get, set: MemcachedCache",
        "race.strategies.caching:get_then_set",
        flaw=GET_THEN_SET,
        needs=("memcache",),
        program="memcached",
        env=MEMCACHED,
    ),
    Strategy(
        "inc-simple",
        "cache.cache.inc: SimpleCache",
        "race.strategies.caching:hidden_inc",
        scope=Scope.PROCESS,
        flaw=INC_IS_GET_THEN_SET,
        env=SIMPLE,
    ),
    Strategy(
        "inc-files",
        "cache.cache.inc: FileSystemCache",
        "race.strategies.caching:hidden_inc",
        flaw=INC_IS_GET_THEN_SET,
        env=FILES,
    ),
    Strategy(
        "inc-redis",
        "cache.cache.inc: RedisCache",
        "race.strategies.caching:hidden_inc",
        needs=("redis",),
        program="redis",
        env=REDIS,
    ),
    Strategy(
        "inc-memcached",
        "cache.cache.inc: MemcachedCache",
        "race.strategies.caching:hidden_inc",
        flaw=INC_IS_GET_THEN_SET,
        needs=("memcache",),
        program="memcached",
        env=MEMCACHED,
    ),
    Strategy(
        "diskcache",
        "diskcache incr",
        "race.strategies.disk:incr",
        needs=("diskcache",),
        env=DIRECTORY,
    ),
    Strategy(
        "stash",
        "gunicorn.dirty.stash get, put",
        "race.strategies.stash:get_then_put",
        flaw=f"it has no increment: {GET_THEN_SET}",
        needs=("gunicorn.dirty.stash",),
        servers="gunicorn",
        env={"RACE_GUNICORN_DIRTY_APP": "race.strategies.stash:Nothing"},
    ),
)

STRATEGIES = {strategy.name: strategy for strategy in (*_LISTED, *OURS)}
