"""Fetch Flask-Caching's own tests, which run in ours with `sharedstate.Cache` in its Cache's place.

Its wheel leaves them out, so this unpacks the source distribution of the installed version beside
it, to ``.venv/flask-caching-src/flask_caching-X``. Without a network it says so, which is a failure
with ``CI=true`` only.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

VERSION = metadata.version("flask-caching")
SOURCE = Path(sys.prefix, "flask-caching-src", f"flask_caching-{VERSION}")


def download(folder: str) -> Path:
    """The source distribution as pip finds it.

    :raises subprocess.CalledProcessError: with what pip said in ``stderr``.
    """
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--retries=2"]
    what = ["--no-deps", "--no-binary=flask-caching", f"--dest={folder}"]
    subprocess.run(
        [*pip, "download", *what, f"flask-caching=={VERSION}"],
        check=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    (archive,) = Path(folder).glob("*.tar.gz")
    return archive


def fetch() -> None:
    """Have :data:`SOURCE` there, complete or not at all."""
    SOURCE.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SOURCE.parent) as folder:
        shutil.unpack_archive(download(folder), folder)
        Path(folder, SOURCE.name).rename(SOURCE)


def main() -> int:
    if SOURCE.is_dir():
        return 0
    print(f"Fetching the tests of Flask-Caching {VERSION}")
    try:
        fetch()
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip().rpartition("\n")[2]
        print(f"Not fetched, so they do not run: {reason}", file=sys.stderr)
        return 1 if os.environ.get("CI") == "true" else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
