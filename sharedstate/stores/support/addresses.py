"""The URLs of servers, read strictly: what is doubtful is refused, and nothing of it is shown.

A special character in a password makes other parts of a URL out of the password's, which would
then stand in error messages and descriptions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote

from ...errors import ConfigurationError

Address = tuple[str, int]

# For several hosts, which urlsplit() of some Pythons refuses where one of them is in brackets.
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?", re.I)
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\[\]:@/?#\s]+))(?::([0-9]{1,5}))?", re.I)
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.I)


class URL(NamedTuple):
    """The parts of a server's URL."""

    scheme: str
    user: str
    password: str
    hosts: str
    """The hosts and ports, as they are written."""
    path: str


def scheme_of(url: Any) -> str | None:
    """The scheme of a URL, in lower case, or ``None`` if it has none."""
    found = _SCHEME.match(url) if isinstance(url, str) else None
    return found[1].lower() if found else None


def parsed(url: Any, setting: str, example: str) -> URL:
    """The parts of a URL.

    :raises ConfigurationError: if it is none, or could be read in two ways.
    """
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    scheme, authority, path, query = found.groups(default="") if found else [""] * 4
    if not scheme or (authority and "@" in path + query):
        raise malformed(setting, example)
    userinfo, _, hosts = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    return URL(scheme.lower(), unquote(user), unquote(password), hosts, path)


def malformed(setting: str, example: str) -> ConfigurationError:
    """The error for a URL that cannot be used."""
    return ConfigurationError(
        f"{setting} is no URL like {example}; in a user's name and a password, special characters "
        "are written as %XX, such as %23 for # and %2F for /"
    )


def addresses(hosts: str | Iterable[Any], default_port: int, setting: str) -> list[Address]:
    """The hosts and ports of ``host:port,host``, or of a list of such and of pairs.

    :param default_port: of a host without one.
    :raises ConfigurationError: if one is neither, or there is none.
    """
    entries = hosts.split(",") if isinstance(hosts, str) else list(hosts)
    found = [_address(entry, default_port) for entry in entries]
    if None in found:
        raise ConfigurationError(
            f"entry {found.index(None) + 1} of {setting} is not host:port (of an IPv6 address: "
            "[address]:port)"
        )
    if not found:
        raise ConfigurationError(f"{setting} names no host")
    return [address for address in found if address is not None]


def shown(addresses: Iterable[Address]) -> str:
    """The addresses as they stand in a URL."""
    return ",".join(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in addresses
    )


def _address(entry: Any, default_port: int) -> Address | None:
    if isinstance(entry, str):
        found = _HOST.fullmatch(entry)
        entry = (found[1] or found[2], found[3] or default_port) if found else None
    try:
        host, port = entry
        host, port = str(host), int(port)
    except (TypeError, ValueError):
        return None
    return (host.lower(), port) if host and 0 <= port < 1 << 16 else None
