"""What belongs to one client: its name in Flask's signed cookie, its state in the store.

A count in the cookie itself would be wrong for requests at the same time: each of them carries the
same cookie, and so counts from the same number.
"""

import secrets

from flask import Flask, session

from sharedstate import Cache

MONTH = 31 * 24 * 3600

app = Flask(__name__)
app.secret_key = "dev"  # FLASK_SECRET_KEY in production
app.config.from_prefixed_env()
cache = Cache(app)


@app.post("/clicks")
def click() -> dict[str, int]:
    client = session.setdefault("client", secrets.token_hex(16))  # set once, then only read
    return {"you have clicked": cache.inc(f"clicks:{client}", timeout=MONTH)}
