"""Tests of `tickets.py`: races, and time that passes without waiting."""

import pytest
from flask import Flask
from tickets import create_app

from sharedstate.testing import assert_every_number_once, stop_clock


@pytest.fixture
def app() -> Flask:
    return create_app({"CACHE_TYPE": "simple"})


def test_each_ticket_is_sold_once(app, race):
    """Of 50 clients at once each gets another number, and the next one gets none."""

    def buy():
        return app.test_client().post("/tickets").get_json()["number"]

    assert_every_number_once(race(50, buy))
    assert app.test_client().post("/tickets").status_code == 410


def test_a_seat_is_reserved_for_one(app, race):
    """Of 20 clients at once one gets the seat; after ten minutes it is free again."""
    clock = stop_clock(app)

    def reserve():
        return app.test_client().post("/seats/7a").status_code

    assert sorted(race(20, reserve)) == [200] + [409] * 19
    clock.advance(599)
    assert reserve() == 409
    clock.advance(1)
    assert reserve() == 200


def test_processes_share_the_tickets(tmp_path, race):
    """On a store that processes share, each of them sells other tickets."""
    app = create_app({"CACHE_TYPE": "filesystem", "CACHE_DIR": tmp_path})

    def buy():
        client = app.test_client()
        return [client.post("/tickets").get_json()["number"] for _ in range(10)]

    assert_every_number_once(sum(race(4, buy, processes=True), []))
