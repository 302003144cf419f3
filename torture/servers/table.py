"""The stores that can be tortured, by their names."""

from .databases import DATABASES
from .embedded import EMBEDDED
from .etcd import ETCD
from .in_memory import IN_MEMORY
from .redis import REDIS
from .site import Start
from .standbys import STANDBYS

SITES: dict[str, Start] = EMBEDDED | REDIS | IN_MEMORY | ETCD | DATABASES | STANDBYS
