"""The random tokens that clients' cookies hold."""

from __future__ import annotations

import re
import secrets

_TOKEN_BYTES = 32

is_token = re.compile(r"[\w-]{43}", re.ASCII).fullmatch  # As it is in base 64.


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(_TOKEN_BYTES)
