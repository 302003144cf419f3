"""The table of settings: types, what is refused, and what is said of it."""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from sharedstate import Cache, ConfigurationError, State
from sharedstate.keyspace import MAX_VALUE_BYTES
from sharedstate.settings import FLASK_CACHINGS, Setting, changed, checked, markdown, table
from sharedstate.stores.base import DEFAULT_TIMEOUT
from sharedstate.stores.database.store import DEFAULT_TABLE


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
