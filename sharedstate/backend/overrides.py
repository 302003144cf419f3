"""What the library uses of other packages' private parts, each with what it saves.

``flask.globals._cv_app``
    The context of the current application. :data:`flask.current_app`, its public form, is a proxy
    that costs 1.1 µs a call, of the 6.9 µs of an increment on the store ``simple`` (14 %).
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
