"""A row in a database, through SQLAlchemy."""

from __future__ import annotations

import os

from flask import Flask
from sqlalchemy import Engine, create_engine, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Counter(Base):
    __tablename__ = "counter"

    name: Mapped[str] = mapped_column(primary_key=True)
    hits: Mapped[int] = mapped_column(default=0)


def read_modify_write() -> Flask:
    """What an ORM invites to: load the object, change it, commit."""
    engine, app = _engine(), Flask(__name__)

    @app.route("/")
    def home():
        with Session(engine) as session:
            counter = session.get_one(Counter, "hits")
            counter.hits += 1
            hits = counter.hits
            session.commit()
        return str(hits)

    return app


def atomic_update() -> Flask:
    """One statement that adds and returns: the database sees to the rest."""
    engine, app = _engine(), Flask(__name__)
    add = update(Counter).where(Counter.name == "hits").values(hits=Counter.hits + 1)

    @app.route("/")
    def home():
        with Session(engine) as session:
            hits = session.execute(add.returning(Counter.hits)).scalar_one()
            session.commit()
        return str(hits)

    return app


def _engine() -> Engine:
    engine = create_engine(os.environ["DATABASE_URL"])
    try:
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(Counter(name="hits", hits=0))
            session.commit()
    except DatabaseError:
        pass  # another worker was first
    engine.dispose()  # no connection goes with a fork
    return engine
