"""The cache that the whole application shares.

Import it wherever shared values are read or written; :func:`app.create_app` connects it to the
store that the configuration names::

    from common import cache

    cache.set("motd", "hello")
    motd = cache.get("motd")
    visits = cache.inc("visits")

``routes/demo.py`` does no more than that. The routes of values and counters need more than a value
in one step, and use what has it: ``item`` reads a value with its remaining time and its ETag,
``put`` says whether the key is new, and ``revise`` decides by the ETag and writes, with nobody in
between.
"""

from sharedstate import Cache

cache = Cache()
