"""Scheduled jobs of an application that has any number of workers: each is done once.

Each worker has a scheduler that calls the jobs every minute, so that they are done as long as one
worker lives. ``once`` lets the first call of a period through.
"""

from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask

from sharedstate import Cache

app = Flask(__name__)
app.config.from_prefixed_env()
cache = Cache(app)


@cache.once(every=3600)
def report() -> None:
    cache.inc("reports")


@cache.once(at="03:30", zone="UTC")
def tidy() -> None:
    cache.inc("tidied")


def call_jobs() -> None:
    report()
    tidy()
    cache.inc("calls")


scheduler = BackgroundScheduler(timezone=UTC)
# A job that is late, because the host is busy, is done nevertheless.
late = {"misfire_grace_time": 60}
scheduler.add_job(call_jobs, "interval", minutes=1, next_run_time=datetime.now(UTC), **late)
scheduler.start()

# What has to run all the time, and in one worker, runs in the leader.
leader = cache.leader("worker", on_start=lambda: cache.inc("leaders"))
leader.start()


@app.get("/")
def done() -> dict[str, int]:
    names = ("calls", "reports", "tidied", "leaders")
    return {name: cache.get(name, 0) for name in names}
