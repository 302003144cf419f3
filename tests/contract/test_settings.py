"""The settings of a Flask configuration: which store they select, and what is said when wrong."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from backends import BACKENDS, innermost
from flask import Flask

from sharedstate import Cache, ConfigurationError, State
from sharedstate.settings import checked
from sharedstate.stores.base import Store
from sharedstate.stores.registry import ALIASES, STORES, open_store, store_class, type_name

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
