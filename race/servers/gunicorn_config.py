"""gunicorn's configuration in a race: the user's own file, if there is one, and what a race needs.

It is executed by gunicorn, in whatever environment that is installed, and imports nothing of the
race. A version of gunicorn that does not know a setting passes over it.
"""

import os
import runpy

if _own := os.environ.get("RACE_GUNICORN_CONFIG"):
    globals().update(
        {name: value for name, value in runpy.run_path(_own).items() if not name.startswith("__")}
    )
    # What it logs is part of the report; a server in production keeps its files.
    errorlog, pidfile, daemon, reload = "-", None, False, False

# All gunicorns of a user would share one.
control_socket_disable = True

# The process that holds the tables of `gunicorn.dirty.stash` is only there for applications.
if _dirty_app := os.environ.get("RACE_GUNICORN_DIRTY_APP"):
    dirty_apps, dirty_workers = [_dirty_app], 1
