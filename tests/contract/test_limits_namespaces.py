"""Rate limits beside everything else that an application keeps in namespaces."""

from flask import Flask

from sharedstate import Cache
from sharedstate.limits.storage import SharedStateStorage


def test_hits_leave_other_namespaces_alone():
    """However many hits there are, a namespace stays the object that knows who waits for what."""
    app = Flask(__name__)
    cache = Cache(app, config={"CACHE_TYPE": "simple"})
    with app.app_context():
        before, limits = cache.state.namespace("own"), SharedStateStorage("sharedstate://")
        for _ in range(100):
            limits.incr("key", 60)
            assert limits.acquire_entry("key", 100, 60)
        assert cache.state.namespace("own") is before
        assert not limits.acquire_entry("key", 100, 60)
