"""The settings of sessions, beside those that Flask has."""

from __future__ import annotations

from ..settings import Setting
from ..settings.kinds import choice, duration, flag

_HERE = "`sharedstate.session`"

TABLE = (
    Setting(
        "SESSION_PERMANENT",
        flag(),
        True,
        "Whether a new session is permanent, as with Flask-Session.",
        _HERE,
        default_text="on",
    ),
    Setting(
        "SESSION_LOCK",
        choice("access", "write"),
        "access",
        "When a request takes the session for itself: on its first `access`, or on its first "
        "`write`. With `write`, reading waits for nobody, and a change is refused with 503 if "
        "others have changed the session since it was read.",
        _HERE,
    ),
    Setting(
        "SESSION_WAIT",
        duration(),
        10.0,
        "How long a request waits for others of the same client; then it is refused, with 503.",
        _HERE,
        default_text="10 s",
    ),
    Setting(
        "SESSION_LEASE",
        duration(),
        30.0,
        "After how long others go on if the request that has the session has died.",
        _HERE,
        default_text="30 s",
    ),
    Setting(
        "SESSION_ABSOLUTE_LIFETIME",
        duration(),
        None,
        "After how long a session ends, however often it is used.",
        _HERE,
        default_text="never",
    ),
)
