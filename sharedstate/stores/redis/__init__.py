"""``redis``: a server, Sentinels or a Cluster."""

from .cluster import RedisClusterStore
from .store import RedisSentinelStore, RedisStore

__all__ = ["RedisClusterStore", "RedisSentinelStore", "RedisStore"]
