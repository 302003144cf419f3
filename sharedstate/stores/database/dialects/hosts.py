"""Several hosts in the URL of a database, which are its primary and its standbys."""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import Any

from ....errors import ConfigurationError
from ...support.addresses import addresses

_SEVERAL = re.compile(r"(postgres[^:/?#]*://(?:[^/?#]*@)?)([^/?#@]*,[^/?#@]*)(/[^?#]*)?\??([^@]*)")
_DEFAULT_PORT = 5432
_WRITES = ("read-write", "primary")


def in_query(url: str) -> str:
    """The URL as SQLAlchemy can read it: of libpq's own ``//a:1,b:2/name`` it cannot."""
    found = _SEVERAL.fullmatch(url)
    if not found:
        return url
    begin, hosts, path, query = found.groups(default="")
    return f"{begin}{path or '/'}?" + "&".join(filter(None, [f"host={hosts}", query]))


def spelled_out(url: Any) -> Any:
    """SQLAlchemy's object for a URL, several hosts and their ports in it as libpq takes them.

    :raises ConfigurationError: if a host is none, or if a standby is asked for: what is read there
        may be old.
    """
    wanted = url.query.get("target_session_attrs", _WRITES[0])
    if wanted not in _WRITES:
        raise ConfigurationError(
            f"target_session_attrs is {wanted!r} in CACHE_DATABASE_URL; it can be "
            f"{' or '.join(_WRITES)}, as a standby shows what was, and writes nothing"
        )
    hosts = _listed(url.query.get("host"))
    if len(hosts) < 2 or "port" in url.query or any(host.startswith("/") for host in hosts):
        return url
    found = addresses(hosts, _DEFAULT_PORT, "the hosts in CACHE_DATABASE_URL")
    names = {"host": [name for name, _ in found], "port": [str(port) for _, port in found]}
    return url.update_query_dict({name: ",".join(each) for name, each in names.items()})


def shown(url: Any) -> str:
    """The hosts and ports that stand in the query of a URL."""
    pairs = zip_longest(_listed(url.query.get("host")), _listed(url.query.get("port")))
    texts = [(f"[{host}]" if ":" in f"{host}" else host or "", port) for host, port in pairs]
    return ",".join(f"{host}:{port}" if port else host for host, port in texts)


def has_several(url: Any) -> bool:
    """Whether a URL names more than one host."""
    return "," in f"{url.host}{shown(url)}"


def _listed(value: str | tuple[str, ...] | None) -> list[str]:
    texts = (value,) if isinstance(value, str) else value or ()
    return [each for text in texts for each in text.split(",")]
