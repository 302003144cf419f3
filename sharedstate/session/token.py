"""The random tokens that clients' cookies hold."""

from __future__ import annotations

import re
import secrets
from hashlib import blake2b

_TOKEN_BYTES = 32

is_token = re.compile(r"[\w-]{43}", re.ASCII).fullmatch  # As it is in base 64.


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def key_of(token: str) -> str:
    """The key of a session in the store: who reads that, or a backup, has no session by it."""
    return blake2b(token.encode(), digest_size=32).hexdigest()
