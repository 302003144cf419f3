"""``etcd``: a cluster of etcd members, which loses nothing while a majority of them lives."""

from .store import EtcdStore

__all__ = ["EtcdStore"]
