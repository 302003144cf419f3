"""Users with very many sessions, such as a program that logs in anew each time."""

import pytest
from flask import Flask, session

from sharedstate import Cache, State
from sharedstate.session import Session
from sharedstate.session import users as module
from sharedstate.session.record import Record
from sharedstate.session.users import Users
from sharedstate.stores.memory import MemoryStore


@pytest.fixture
def states():
    return State(MemoryStore()).namespace("sessions")


@pytest.fixture
def users(states):
    return Users(states, states.namespace("users"))


def login(states, users, number):
    states.set(f"{number:064}", "data")
    users.add("ada", f"{number:064}", number)


def test_the_oldest_end(states, users, monkeypatch):
    """Another login is possible however many sessions there are: the oldest ones end."""
    monkeypatch.setattr(module, "MOST", 64)
    for number in range(200):
        login(states, users, number)
    found = [entry.created for entry in users.of("ada")]
    assert found == list(range(200 - len(found), 200))
    assert 32 < len(found) <= 64 and len(states.keys()) == len(found)


def test_each_is_looked_for_seldom(states, users, monkeypatch):
    """A login asks the store a few times, however many sessions the user has."""
    asked, has = [], states.has
    monkeypatch.setattr(states, "has", lambda key: asked.append(key) or has(key))
    for number in range(100):
        login(states, users, number)
    assert len(asked) < 2 * 100


def test_those_that_have_gone_are_forgotten(states, users):
    """What has ended is not listed for ever."""
    for number in range(100):
        login(states, users, number)
        states.delete(f"{number:064}")
    assert len(states.namespace("users").get("ada")) <= 16


def test_logins_at_the_same_time(monkeypatch):
    """A session that is being made while the user logs in elsewhere is listed, and revoked."""
    app = Flask(__name__)
    Cache(app, config={"CACHE_TYPE": "simple"})
    sessions = Session(app)

    @app.get("/login")
    def login():
        session.user = "ada"
        return ""

    @app.get("/user")
    def user():
        return session.user or "nobody"

    for _ in range(15):
        app.test_client().get("/login")
    create, clients = Record.create, [app.test_client() for _ in range(2)]

    def meanwhile(*arguments):
        monkeypatch.setattr(Record, "create", create)
        clients[1].get("/login")
        create(*arguments)

    monkeypatch.setattr(Record, "create", meanwhile)
    clients[0].get("/login")
    with app.app_context():
        assert len(sessions.of("ada")) == 17
        assert sessions.revoke("ada") == 17
    assert [client.get("/user").text for client in clients] == ["nobody", "nobody"]
