"""How each store under test is started, by its name."""

from .databases import DATABASES
from .deployment import Start
from .embedded import EMBEDDED
from .etcd import ETCD
from .in_memory import IN_MEMORY
from .redis import REDIS
from .standbys import STANDBYS

DEPLOYMENTS: dict[str, Start] = EMBEDDED | REDIS | IN_MEMORY | ETCD | DATABASES | STANDBYS
