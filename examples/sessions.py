"""What belongs to one client: ``flask.session`` in the store, exact for its parallel requests.

Flask's own session is in the cookie. Requests at the same time all carry the same cookie, so each
of them would count from the same number.
"""

from flask import Flask, session

from sharedstate.session import Session

app = Flask(__name__)
app.config.from_prefixed_env()
Session(app)


@app.post("/clicks")
def click() -> dict[str, int]:
    session["clicks"] = session.get("clicks", 0) + 1
    return {"you have clicked": session["clicks"]}
