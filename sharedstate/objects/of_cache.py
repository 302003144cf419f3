"""What a :class:`~sharedstate.Cache` makes shared objects with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from ..keyspace.arguments import Timeout
from .counter import Counter
from .dictionary import SharedDict
from .handle import Handle
from .proxy import proxy

if TYPE_CHECKING:
    from ..state import State

T = TypeVar("T")


class Objects:
    """Methods that make objects whose state is in the store of the current application.

    They may be called when a module is imported: nothing is read or made before the first use.
    """

    if TYPE_CHECKING:

        @property
        def state(self) -> State: ...

    def object(
        self,
        name: str,
        kind: type[T],
        *args: Any,
        upgrade: Callable[[T], object] | None = None,
        **kwargs: Any,
    ) -> T:
        """Return an object that all processes share.

        ::

            global_obj = cache.object("global_obj", SomeObj, 0)
            global_obj.query()  # one atomic step

        A method call is one step: it runs on a private copy, perhaps more than once, and what it
        has made of that copy replaces the state unless others have changed it meanwhile. A method
        that changes nothing writes nothing, and one that raises changes nothing. ``change`` and
        ``locked`` are those of :class:`Handle`.

        :param name: under which the state is found, whatever the class is called.
        :param kind: the class. Its state are its attributes, or what ``__getstate__`` returns.
        :param args: for the class, as are ``kwargs``: one caller makes the object on first use.
        :param upgrade: is given each object that is read, to add what the class has had only since.
        :returns: what stands for the object, with its methods; :func:`shared` returns its handle.
        :raises TypeError: if ``kind`` is no class.
        """
        if not isinstance(kind, type):
            raise TypeError(f"a shared object needs a class, not {kind!r}")
        make = partial(kind, *args, **kwargs)
        return proxy(Handle(partial(_state, self), name, kind, make, upgrade))

    def counter(
        self,
        name: str,
        *,
        initial: int = 0,
        minimum: int | None = None,
        maximum: int | None = None,
        timeout: Timeout = None,
    ) -> Counter:
        """Return a counter that all processes share; the parameters are those of :class:`Counter`.

        ::

            tickets = cache.counter("tickets", maximum=100)
            next(tickets)  # 1, 2, 3, …
        """
        return Counter(
            partial(_state, self),
            name,
            initial=initial,
            minimum=minimum,
            maximum=maximum,
            timeout=timeout,
        )

    def dict(self, name: str, timeout: Timeout = None) -> SharedDict:
        """Return a dictionary that all processes share.

        ::

            visitors = cache.dict("visitors", timeout=1200)
            visitors[session["id"]] = {"hits": 1}

        :param name: keeps its items apart from those of all other dictionaries.
        :param timeout: seconds from when an item is set until it is gone; 0: never; ``None``: the
            default timeout.
        """
        return SharedDict(partial(_state, self), name, timeout)


_state: Callable[[Any], State] = attrgetter("state")
