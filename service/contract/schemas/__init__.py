"""The bodies of requests and responses, as classes: one module a noun.

They decode and validate requests, encode responses, and are what ``/openapi.json`` describes:
there is no second copy.
"""

from .batch import Delete, Get, Inc, Operations, Result, Results, Set
from .counters import Count, Increment, NewNumber
from .fields import MAX_LEASE, MAX_LIMIT, MIN_LEASE, Request
from .limits import Allowed, Hit
from .locks import Acquire, Acquired, Held, Release, Renew
from .problem import Problem
from .service import Health, Overlap, Race, Raced, StoreAbilities, StoreStatus
from .session import AnyValue, Change, ClientCount, ClientState, ClientValue, Number
from .values import Item, ListedItem, ListQuery, NewValue, NoQuery, Page

__all__ = [
    "Acquire",
    "Acquired",
    "Allowed",
    "AnyValue",
    "Change",
    "ClientCount",
    "ClientState",
    "ClientValue",
    "Count",
    "Delete",
    "Get",
    "Health",
    "Held",
    "Hit",
    "Inc",
    "Increment",
    "Item",
    "ListQuery",
    "ListedItem",
    "MAX_LEASE",
    "MAX_LIMIT",
    "MIN_LEASE",
    "NewNumber",
    "NewValue",
    "NoQuery",
    "Number",
    "Operations",
    "Overlap",
    "Page",
    "Problem",
    "Race",
    "Raced",
    "Release",
    "Renew",
    "Request",
    "Result",
    "Results",
    "Set",
    "StoreAbilities",
    "StoreStatus",
]
