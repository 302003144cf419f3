"""etcd: what is sent again to another member, while the first may still do it, is done once."""

from __future__ import annotations

from ..etcd import OnEtcd
from .histories import Histories
from .tokens import Tokens


class HistoriesOnEtcd(OnEtcd, Histories):
    """Operations on one key that come and go, on a cluster of etcd."""

    keys = ("k1",)
    operations = ("add", "delete", "set", "get", "inc", "compare_and_set")


class TokensOnEtcd(OnEtcd, Tokens):
    """``once=`` tokens, on a cluster of etcd."""
