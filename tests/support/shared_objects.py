"""A class whose objects the tests share, and what makes them."""

import pytest

from sharedstate.objects import Objects


class SomeObj:
    """The object of the question."""

    made = 0

    def __init__(self, param):
        type(self).made += 1
        self.param = param

    def query(self):
        self.param += 1
        return self.param

    def look(self):
        return self.param

    def fail(self):
        self.param = "broken"
        raise ZeroDivisionError

    def me(self):
        self.param += 1
        return self

    def later(self):
        self.param += 1
        yield self.param

    async def awaited(self):
        return self.param

    @property
    def double(self):
        return 2 * self.param

    @classmethod
    def named(cls):
        return cls.__name__

    @staticmethod
    def twice(n):
        return 2 * n


class Maker(Objects):
    """As a cache: it has a state."""

    def __init__(self, state):
        self.state = state


@pytest.fixture
def maker(state):
    return Maker(state)
