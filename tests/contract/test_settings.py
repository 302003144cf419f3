"""The settings of a Flask configuration: which store they select, and what is said when wrong."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from pathlib import Path

import pytest
from backends import BACKENDS, innermost
from flask import Flask

from sharedstate import Cache, ConfigurationError, State
from sharedstate.keyspace import MAX_VALUE_BYTES
from sharedstate.settings import FLASK_CACHINGS, Setting, changed, checked, markdown, table
from sharedstate.stores.base import DEFAULT_TIMEOUT, Store
from sharedstate.stores.database.store import DEFAULT_TABLE
from sharedstate.stores.registry import ALIASES, SCHEMES, STORES, open_store, store_class, type_name

REDIS = "redis://:secret@example.org:7000/3"
NOT_NUMBERS = ["many", "", -1, 0, float("nan"), float("inf"), True, [1], "-1"]


class TestTypes:
    def test_each_is_tested(self):
        """Every store there is stands in the table of the contract tests, with each ability."""
        assert {backend.name for backend in BACKENDS} == set(STORES)

    @pytest.mark.parametrize("name", STORES)
    def test_names(self, name):
        """The name in `CACHE_TYPE` is that of the store's class."""
        cls = store_class(name)
        assert cls.name == name
        assert issubclass(cls, Store) and not inspect.isabstract(cls)

    @pytest.mark.parametrize(
        ("asked", "name"),
        [
            *(
                ("FileSystemCache", "filesystem"),
                ("RedisCache", "redis"),
                ("SimpleCache", "simple"),
            ),
            *((name, name) for name in STORES),
            *((None, "filesystem"), ("", "filesystem")),
        ],
    )
    def test_aliases(self, asked, name):
        """Flask-Caching's class names select our stores; `filesystem` is the default."""
        assert type_name({"CACHE_TYPE": asked}) == name

    def test_default(self):
        """Without any setting the store is `filesystem`."""
        assert type_name({}) == "filesystem"

    @pytest.mark.parametrize("asked", ["sqlite", "Redis", "memory", "my.module.Store", 5])
    def test_unknown(self, asked):
        """An unknown type is an error that names it and all there are."""
        with pytest.raises(ConfigurationError, match="CACHE_TYPE") as caught:
            open_store({"CACHE_TYPE": asked})
        assert repr(asked) in str(caught.value)
        assert all(name in str(caught.value) for name in [*STORES, *ALIASES])

    @pytest.mark.parametrize("asked", ["sqlite", "Redis", 5])
    def test_unknown_to_cache(self, asked):
        """The drop-in `Cache` says the same."""
        with pytest.raises(ConfigurationError, match="CACHE_TYPE.*there are.*filesystem"):
            Cache(Flask(__name__), config={"CACHE_TYPE": asked})

    def test_opens_nothing(self, tmp_path):
        """Making a store touches neither disk nor network."""
        directory = tmp_path / "missing"
        for name in STORES:
            settings = {"CACHE_TYPE": name, "CACHE_DIR": directory, "CACHE_REDIS_URL": REDIS}
            settings["CACHE_DATABASE_URL"] = f"sqlite:///{directory}/state.db"
            State.from_settings(settings)
        assert not directory.exists()


class TestURL:
    @pytest.mark.parametrize(
        ("url", "name"),
        [
            *(("filesystem:///var/lib/app", "filesystem"), ("lmdb:///var/lib/app", "lmdb")),
            *((REDIS, "redis"), ("rediss://host", "redis"), ("unix:///run/redis.sock", "redis")),
            *(("simple:", "simple"), ("simple://", "simple"), ("SIMPLE:", "simple")),
        ],
    )
    def test_schemes(self, url, name):
        """The scheme selects the store."""
        assert type_name({"CACHE_URL": url}) == name
        assert type_name({"CACHE_URL": url, "CACHE_TYPE": name}) == name
        assert open_store({"CACHE_URL": url}).name == name

    @pytest.mark.parametrize("asked", ["lmdb", "SimpleCache", "nonsense"])
    def test_contradiction(self, asked):
        """A URL that leads to another store than `CACHE_TYPE` names is refused."""
        with pytest.raises(ConfigurationError, match="CACHE_TYPE.*CACHE_URL leads to 'redis'"):
            open_store({"CACHE_URL": REDIS, "CACHE_TYPE": asked})

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            *(("CACHE_REDIS_UR", "CACHE_REDIS_URL"), ("CACHE_DEFAULT_TIMOUT", "CACHE_DEFAULT_T")),
            *(("CACHE_DIRS", "CACHE_DIR"), ("CACHE_REDIS_SENTINEL", "CACHE_REDIS_SENTINELS")),
        ],
    )
    def test_misspelt(self, name, meant, tmp_path):
        """A name that is nearly a setting's is refused, to a `Cache` too; any other is not ours."""
        with pytest.raises(ConfigurationError, match=f"{name}; did you mean {meant}"):
            Cache(Flask(__name__), config={"CACHE_DIR": tmp_path, name: "x"})
        open_store({"CACHE_DIR": tmp_path, "CACHE_OF_MINE": 1})

    def test_did_you_mean(self):
        """A type that is nearly one of ours is named."""
        with pytest.raises(ConfigurationError, match="did you mean 'filesystem'"):
            Cache(Flask(__name__), config={"CACHE_TYPE": "filesytem"})

    def test_each_scheme_is_a_store(self):
        """Each scheme leads to a store that there is."""
        assert set(SCHEMES.values()) == set(STORES)

    @pytest.mark.parametrize("scheme", ["filesystem", "lmdb"])
    @pytest.mark.parametrize(
        ("path", "directory"),
        [
            *(("/var/lib/app", "/var/lib/app"), ("/a%20b/%C3%A4", "/a b/ä"), ("/a%2525", "/a%25")),
            *(("/with:colon@at", "/with:colon@at"), ("/trailing/", "/trailing")),
        ],
    )
    def test_path(self, scheme, path, directory):
        """The path of a URL, with percent-escapes undone, is the directory."""
        store = open_store({"CACHE_URL": f"{scheme}://{path}", "CACHE_DIR": "/elsewhere"})
        assert innermost(store).directory == Path(directory)

    @pytest.mark.parametrize("url", ["filesystem:", "filesystem://", "lmdb:"])
    def test_without_path(self, url, tmp_path):
        """A URL without a path leaves the directory to `CACHE_DIR`."""
        store = open_store({"CACHE_URL": url, "CACHE_DIR": tmp_path})
        assert innermost(store).directory == tmp_path
        with pytest.raises(ConfigurationError, match="CACHE_DIR"):
            open_store({"CACHE_URL": url})

    @pytest.mark.parametrize("url", ["filesystem://var/lib/app", "lmdb://host/path", "simple://x"])
    def test_host_in_a_path(self, url):
        """A path that lacks its third slash is an error that says so, not another directory."""
        with pytest.raises(ConfigurationError, match="CACHE_URL.*three slashes"):
            open_store({"CACHE_URL": url})

    @pytest.mark.parametrize(
        "url",
        ["oracle://host", "redis+x://host", "/var/lib/app", "redis", "http://host", "://", " "],
    )
    def test_unknown_scheme(self, url):
        """Another scheme, or none, is an error that says which there are."""
        with pytest.raises(ConfigurationError, match="CACHE_URL") as caught:
            open_store({"CACHE_URL": url})
        assert all(scheme in str(caught.value) for scheme in SCHEMES)

    @pytest.mark.parametrize("url", ["redis://[::1", "lmdb://[", 5], ids=repr)
    def test_no_url(self, url):
        """What is no URL is an error that names the setting."""
        with pytest.raises(ConfigurationError, match="CACHE_URL"):
            open_store({"CACHE_URL": url})

    @pytest.mark.parametrize("url", [None, ""])
    def test_none(self, url):
        """An empty URL is none."""
        assert open_store({"CACHE_URL": url, "CACHE_TYPE": "simple"}).name == "simple"

    def test_secret(self):
        """A store does not tell the password that its URL has."""
        described = open_store({"CACHE_URL": REDIS}).describe()
        assert "secret" not in str(described)
        assert "example.org:7000" in described["location"]


class TestDirectory:
    @pytest.mark.parametrize("name", ["filesystem", "lmdb"])
    def test_needed(self, name):
        """A store of files without a directory is an error that says what to set."""
        for directory in (None, ""):
            with pytest.raises(ConfigurationError, match="set CACHE_DIR"):
                open_store({"CACHE_TYPE": name, "CACHE_DIR": directory})

    @pytest.mark.parametrize("name", ["filesystem", "lmdb"])
    def test_text_or_path(self, name, tmp_path, monkeypatch):
        """A directory may be text or a Path; a relative one is that of the present directory."""
        monkeypatch.chdir(tmp_path)
        for directory in ("state", Path("state"), tmp_path / "state"):
            store = open_store({"CACHE_TYPE": name, "CACHE_DIR": directory})
            assert innermost(store).directory == tmp_path / "state"


class TestNumbers:
    @pytest.mark.parametrize("wrong", NOT_NUMBERS, ids=repr)
    @pytest.mark.parametrize(
        ("name", "setting"),
        [
            *(("simple", "CACHE_MAX_BYTES"), ("filesystem", "CACHE_MAX_BYTES")),
            *(("lmdb", "CACHE_MAX_BYTES"), ("simple", "CACHE_MAX_VALUE_BYTES")),
            *(("filesystem", "CACHE_TIMEOUT"), ("redis", "CACHE_TIMEOUT")),
        ],
    )
    def test_wrong(self, name, setting, wrong, tmp_path):
        """A limit that is no positive number is an error that names the setting."""
        settings = {"CACHE_TYPE": name, "CACHE_DIR": tmp_path, setting: wrong}
        with pytest.raises(ConfigurationError, match=setting):
            State.from_settings(settings)

    @pytest.mark.parametrize("value", [5, 5.0, "5"], ids=repr)
    def test_value_bytes(self, value):
        """A limit may be a number or its text, as environment variables have it."""
        state = State.from_settings({"CACHE_TYPE": "simple", "CACHE_MAX_VALUE_BYTES": value})
        assert state.max_value_bytes == 5

    @pytest.mark.parametrize("value", [0.5, "0.5"], ids=repr)
    @pytest.mark.parametrize("name", ["filesystem", "redis"])
    def test_timeout(self, name, value, tmp_path):
        """`CACHE_TIMEOUT` is how long a store may take, fractions of seconds too."""
        settings = {"CACHE_TYPE": name, "CACHE_DIR": tmp_path, "CACHE_TIMEOUT": value}
        assert open_store(settings).timeout == 0.5

    @pytest.mark.parametrize("name", ["filesystem", "redis"])
    def test_timeout_default(self, name, tmp_path):
        """A store may take two seconds unless told."""
        for settings in ({}, {"CACHE_TIMEOUT": None}):
            store = open_store({"CACHE_TYPE": name, "CACHE_DIR": tmp_path, **settings})
            assert store.timeout == 2

    def test_default_timeout(self):
        """`CACHE_DEFAULT_TIMEOUT` is when a value ends, for ever without it."""
        for value, expected in [(None, 0), (0, 0), (300, 300), (0.5, 0.5)]:
            settings = {"CACHE_TYPE": "simple", "CACHE_DEFAULT_TIMEOUT": value}
            assert State.from_settings(settings).default_timeout == expected

    @pytest.mark.parametrize("wrong", ["soon", -1, float("nan"), float("inf"), True, [1]], ids=repr)
    def test_wrong_default_timeout(self, wrong):
        """A default timeout that is no time is an error that names the setting."""
        with pytest.raises(ConfigurationError, match="CACHE_DEFAULT_TIMEOUT"):
            State.from_settings({"CACHE_TYPE": "simple", "CACHE_DEFAULT_TIMEOUT": wrong})


class TestDurability:
    @pytest.mark.parametrize("name", ["filesystem", "lmdb"])
    def test_choice(self, name, tmp_path):
        """`CACHE_DURABILITY` is normal or full, normal where none is set."""
        settings = {"CACHE_TYPE": name, "CACHE_DIR": tmp_path}
        assert innermost(open_store(settings)).durability == "normal"
        assert innermost(open_store({**settings, "CACHE_DURABILITY": None})).durability == "normal"
        assert innermost(open_store({**settings, "CACHE_DURABILITY": "full"})).durability == "full"

    @pytest.mark.parametrize("name", ["filesystem", "lmdb"])
    @pytest.mark.parametrize("wrong", ["FULL", "fsync", 1, ["full"]], ids=repr)
    def test_wrong(self, name, wrong, tmp_path):
        """Anything else is an error that names the setting and what it can be."""
        settings = {"CACHE_TYPE": name, "CACHE_DIR": tmp_path, "CACHE_DURABILITY": wrong}
        with pytest.raises(ConfigurationError, match="CACHE_DURABILITY.*normal or full"):
            open_store(settings)


class TestPrefix:
    @pytest.mark.parametrize(
        ("settings", "prefix"),
        [
            *(({}, "flask_cache_"), ({"CACHE_KEY_PREFIX": ""}, "")),
            *(({"CACHE_KEY_PREFIX": None}, ""), ({"CACHE_KEY_PREFIX": "a*:é"}, "a*:é")),
            *(({"CACHE_KEY_PREFIX": "é" * 64}, "é" * 64), ({"CACHE_KEY_PREFIX": " "}, " ")),
        ],
    )
    def test_prefix(self, settings, prefix):
        """`CACHE_KEY_PREFIX` is any text of at most 128 bytes, as Flask-Caching's where not set."""
        assert checked(settings)["CACHE_KEY_PREFIX"] == prefix
        state = State.from_settings({"CACHE_TYPE": "simple", **settings})
        assert state.key_prefix == prefix

    @pytest.mark.parametrize("wrong", ["é" * 64 + "x", 5, b"a", ["a"], "\ud800"], ids=repr)
    def test_wrong(self, wrong):
        """A prefix that is too long or no text is an error that names the setting."""
        with pytest.raises(ConfigurationError, match="CACHE_KEY_PREFIX"):
            checked({"CACHE_KEY_PREFIX": wrong})

    @pytest.mark.parametrize("wrong", ["\0", "\0lock:", "a\nb", "\x7f"])
    def test_control_characters(self, wrong):
        """A prefix has no control characters: one that begins with \\0 would lead to the locks."""
        with pytest.raises(ConfigurationError, match="CACHE_KEY_PREFIX"):
            checked({"CACHE_KEY_PREFIX": wrong})

    def test_flask_cachings_settings(self, tmp_path):
        """The settings of a Flask-Caching configuration make a store that works."""
        app = Flask(__name__)
        app.config.from_mapping(
            CACHE_TYPE="FileSystemCache",
            CACHE_DIR=str(tmp_path / "cache"),
            CACHE_KEY_PREFIX="mine_",
            CACHE_DEFAULT_TIMEOUT=300,
            CACHE_IGNORE_ERRORS=True,
            CACHE_OPTIONS={"mode": 0o600},
        )
        cache = Cache(app)
        assert cache.inc("hits") == 1
        assert cache.state.key_prefix == "mine_"
        assert 290 < cache.ttl("hits") <= 300
        cache.state.close()


class TestRedisSettings:
    @pytest.mark.parametrize(
        ("settings", "location"),
        [
            *(({}, "redis://localhost:6379"), ({"CACHE_REDIS_HOST": "h"}, "redis://h:6379")),
            ({"CACHE_REDIS_HOST": "h", "CACHE_REDIS_PORT": 7000}, "redis://h:7000"),
            ({"CACHE_REDIS_URL": "redis://h:7000/3"}, "redis://h:7000/3"),
            ({"CACHE_REDIS_URL": REDIS}, "redis://example.org:7000/3"),
            ({"CACHE_REDIS_URL": "rediss://user:secret@h"}, "rediss://h"),
        ],
    )
    def test_location(self, settings, location):
        """Flask-Caching's `CACHE_REDIS_*` say where the server is."""
        store = open_store({"CACHE_TYPE": "RedisCache", **settings})
        assert store.describe()["location"] == location

    def test_url_first(self):
        """`CACHE_URL` goes before `CACHE_REDIS_URL`."""
        store = open_store({"CACHE_URL": "redis://one", "CACHE_REDIS_URL": "redis://two"})
        assert store.describe()["location"] == "redis://one"


class TestTable:
    @pytest.mark.parametrize(
        ("written", "size"),
        [
            *((1000, 1000), ("1000", 1000), ("1mb", 10**6), ("64KiB", 65536), ("1.5 kB", 1500)),
            *(("2 GiB", 2 << 30), ("10b", 10), (" 7 ", 7), (1e3, 1000)),
        ],
    )
    def test_sizes(self, written, size):
        """A size is a number of bytes, or text with a unit: kB is 1000 bytes, KiB 1024."""
        settings = checked({"CACHE_MAX_VALUE_BYTES": written})
        assert settings["CACHE_MAX_VALUE_BYTES"] == size
        assert type(settings["CACHE_MAX_VALUE_BYTES"]) is int

    @pytest.mark.parametrize(
        "wrong", ["1m", "1xb", "mb", "1,5mb", "-1mb", "0.1b", "1 2", "nan", b"1mb", 0.5], ids=repr
    )
    def test_wrong_sizes(self, wrong, tmp_path):
        """Another size is refused by a `Cache` too, with the name, what it is and can be."""
        config = {"CACHE_DIR": tmp_path, "CACHE_MAX_VALUE_BYTES": wrong}
        with pytest.raises(ConfigurationError) as caught:
            Cache(Flask(__name__), config=config)
        message = f"CACHE_MAX_VALUE_BYTES is {wrong!r}; it can be a positive number of bytes"
        assert str(caught.value).startswith(message)

    @pytest.mark.parametrize(
        ("written", "seconds"),
        [
            *((30, 30), ("30", 30), ("30s", 30), ("5m", 300), ("500ms", 0.5), ("1.5h", 5400)),
            *(("1 d", 86_400), (timedelta(minutes=1), 60), ("0.5", 0.5)),
        ],
    )
    def test_durations(self, written, seconds):
        """A duration is a number of seconds, text with a unit, or a timedelta."""
        settings = checked({"CACHE_TIMEOUT": written, "CACHE_DEFAULT_TIMEOUT": written})
        assert settings["CACHE_TIMEOUT"] == settings["CACHE_DEFAULT_TIMEOUT"] == seconds

    @pytest.mark.parametrize("wrong", ["soon", "5x", "0s", "-5m", "11000d", "s", [], "1e300"])
    def test_wrong_durations(self, wrong):
        """Another one is refused, and so is one of more than ten years."""
        with pytest.raises(ConfigurationError, match="CACHE_TIMEOUT is .*; it can be a positive"):
            checked({"CACHE_TIMEOUT": wrong})

    def test_checked_twice(self):
        """What was checked is the same when it is checked again; each setting is there."""
        first = checked({"CACHE_MAX_BYTES": "1GiB", "CACHE_KEY_PREFIX": None, "OTHER": 1})
        assert checked(first) == first
        assert {setting.name for setting in table()} < first.keys()

    def test_each_row(self):
        """Each row is one of a kind, has a sentence, and its default is what it can be."""
        names = [setting.name for setting in table()]
        assert len(names) == len(set(names))
        for setting in table():
            assert isinstance(setting, Setting)
            assert setting.sentence.endswith(".") and setting.applies
            assert setting.read({setting.name: setting.default}) == setting.default

    def test_defaults_of_stores(self):
        """The table has the same defaults as the stores that are made without settings."""
        default = {setting.name: setting.default for setting in table()}
        assert default["CACHE_TIMEOUT"] == DEFAULT_TIMEOUT
        assert default["CACHE_MAX_VALUE_BYTES"] == MAX_VALUE_BYTES
        assert default["CACHE_DATABASE_TABLE"] == DEFAULT_TABLE

    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("CACHE_URL", 5),
            ("CACHE_REDIS_URL", b"redis://:hunter2@h"),
            ("CACHE_OPTIONS", "hunter2"),
        ],
    )
    def test_secrets(self, name, wrong):
        """A password, and a URL that may have one, is not shown: not in errors either."""
        with pytest.raises(
            ConfigurationError, match=f"{name} has a wrong value.*it can be"
        ) as caught:
            checked({name: wrong})
        assert "hunter2" not in str(caught.value)
        shown = changed(table(), checked({"CACHE_REDIS_PASSWORD": "hunter2", "CACHE_THRESHOLD": 5}))
        assert shown == {"CACHE_REDIS_PASSWORD": "***", "CACHE_THRESHOLD": 5}

    def test_every_setting_that_is_read_is_a_row(self):
        """No `CACHE_…` name stands in the library's code that is not in the table."""
        names = {*(setting.name for setting in table()), *FLASK_CACHINGS}
        for path in Path(inspect.getfile(State)).parent.rglob("*.py"):
            assert set(re.findall(r'"(CACHE_[A-Z_]+[A-Z])"', path.read_text())) <= names

    def test_markdown(self):
        """The documentation's table has a line for each setting."""
        lines = markdown(table()).splitlines()
        assert len(lines) == len(table()) + 2
        assert all(line.count(" | ") == 4 for line in lines[2:])
