"""Keys in the path of a request."""

from __future__ import annotations

from werkzeug.exceptions import BadRequest
from werkzeug.routing import BaseConverter


class KeyConverter(BaseConverter):
    """The rest of the path, slashes included, as a key."""

    regex = "(?s:.+)"
    part_isolating = False

    def to_python(self, value: str) -> str:
        # Werkzeug puts U+FFFD in the place of what is not UTF-8; that would be another key.
        if "\ufffd" in value:
            raise BadRequest("The key in the path is not valid UTF-8.")
        return value
