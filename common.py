"""The cache that the whole application shares.

Import it wherever shared values are read or written; :func:`app.create_app` connects it to the
store that the configuration names::

    from common import cache

    cache.set("motd", "hello")
    visits = cache.inc("visits")
"""

from sharedstate import Cache

cache = Cache()
