"""The subjects, by name."""

from __future__ import annotations

from ..simulation import Subject
from .breakers import Breakers
from .combiners import Combiners
from .computing import Computing
from .histories import Histories
from .leaders import Leaders
from .locks import Locks
from .on_etcd import HistoriesOnEtcd, TokensOnEtcd
from .periods import Periods
from .semaphores import Semaphores
from .tokens import Tokens

SUBJECTS: dict[str, type[Subject]] = {
    "lock": Locks,
    "semaphore": Semaphores,
    "leader": Leaders,
    "once": Tokens,
    "period": Periods,
    "get_or_set": Computing,
    "breaker": Breakers,
    "combiner": Combiners,
    "operations": Histories,
    "etcd": HistoriesOnEtcd,
    "etcd_once": TokensOnEtcd,
}
