"""An application whose types are checked and which never runs: what is wrong here is marked so.

With decorators or operations that lose the types, mypy finds the marks unused.
"""

from collections.abc import Callable
from datetime import timedelta

from flask import Flask

from sharedstate import Cache, __version__, shared

app = Flask(__name__)
cache = Cache(app)


@app.get("/")
@cache.cached(timeout=60, query_string=True)
def view() -> str:
    return "seen"


@cache.cached(key_prefix="numbers")
def numbers(first: int, text: str = "") -> list[int]:
    return [first]


@cache.memoize(timedelta(minutes=1))
def double(number: int) -> int:
    return 2 * number


@cache.memoize(60, stale=timedelta(minutes=5))
def triple(number: int) -> int:
    return 3 * number


@app.get("/stale")
@cache.cached(timeout=60, stale=30, query_string=True)
def stale_view() -> str:
    return str(triple(2))


class SomeObj:
    def __init__(self, param: int) -> None:
        self.param = param

    def query(self) -> int:
        return self.param


class Adder:
    @cache.memoize()
    def add(self, number: int) -> int:
        return number

    @cache.cached()
    def shown(self, number: int) -> str:
        return str(number)


listed: list[int] = numbers(1, text="a")
doubled: int = double(2) + Adder().add(1)
shown: str = Adder().shown(1)
undecorated: Callable[[int], int] = double.uncached
key: str = view.make_cache_key()
double.delete_memoized()
cache.delete_memoized(Adder().add, 1)
cache.delete_cached(view, path="/")
number: int = cache.inc("visits", maximum=100)
length: int = cache.append("log", "a", 1, limit=100) + cache.extend("log", iter("abc"))
waited = cache.wait("motd", None, timeout=5)
seen: str = waited.version if waited else ""
added: int = cache.inc_saturated("visits", 5, maximum=100)[1]


def in_cart(cart: dict[str, int]) -> dict[str, int]:
    return {**cart, "apple": 1}


cart: dict[str, int] = cache.update("cart", in_cart, default={})
counted: list[int] = cache.get_or_set("counted", lambda: [1])
revised: str = cache.revise("a", lambda item: item.key if item else "none")
is_new: bool = cache.put("a", 1)
removed: int = cache.delete_prefix("view/")
cache.set("a", 1, timeout=60)
cache.get("a")
with cache.lock("nightly", renew=True) as lock:
    fence: int = lock.fence
with cache.semaphore("reports", 3) as place:
    is_held: bool = place.is_held


@cache.once(every=timedelta(hours=1))
def report(day: str) -> int:
    return len(day)


reported: int | None = report("today")


@app.post("/pay")
@cache.idempotent(per=lambda: "ada")
def pay() -> dict[str, int]:
    return {"paid": 1}


with cache.leader("scheduler", on_start=lambda: report("today")) as leader:
    is_leader: bool = leader.is_leader
version: str = __version__
global_obj = cache.object("global_obj", SomeObj, 0)
queried: int = global_obj.query() + global_obj.param
changed: str = shared(global_obj).change(lambda it: str(it.param))
with shared(global_obj).locked() as it:
    it.param = 5
ticket: int = next(cache.counter("tickets", maximum=100))
visitors = cache.dict("visitors", timeout=1200)
hits: int = visitors.inc("ada")
left: int = cache.limit("me", 5, per=60).remaining


@app.get("/limited/<int:number>")
@cache.limit(5, per=timedelta(minutes=1), key=lambda: "me")
def limited(number: int) -> str:
    return str(number)


numbers("no number")  # type: ignore[arg-type]
double("no number")  # type: ignore[arg-type]
Adder().add("no number")  # type: ignore[arg-type]
global_obj.query(1)  # type: ignore[call-arg]
cache.object("global_obj", 5)  # type: ignore[arg-type]
limited("no number")  # type: ignore[arg-type]
report(1)  # type: ignore[arg-type]
always: int = report("today")  # type: ignore[assignment]
cache.get(1)  # type: ignore[arg-type]
cache.set("a")  # type: ignore[call-arg]
wrong_cart: list[int] = cache.update("cart", in_cart)  # type: ignore[arg-type]
wrong_value: str = cache.get_or_set("counted", lambda: 1)  # type: ignore[assignment]
cache.inc("visits", "1")  # type: ignore[arg-type]
cache.inc_saturated("visits", 0.5)  # type: ignore[arg-type]
cache.extend("log", 5)  # type: ignore[arg-type]
triple("no number")  # type: ignore[arg-type]
cache.cached(60, stale="30")  # type: ignore[call-overload]
