"""What the library uses of other packages' private parts, each with what it saves.

``flask.globals._cv_app``
    The context of the current application. :data:`flask.current_app`, its public form, is a proxy
    that costs 0.5 µs a call, where an increment on the store ``simple`` takes 2.9 µs without it.
    Flask 3.0 and 3.1 have it, which is why the library asks for ``flask<3.2``;
    ``tests/contract/test_cache.py`` fails first where a version has not.
"""

from __future__ import annotations

from flask import Flask
from flask.globals import _cv_app


def current_application() -> Flask | None:
    """The application of the current request or application context, or ``None`` outside."""
    context = _cv_app.get(None)
    return None if context is None else context.app
