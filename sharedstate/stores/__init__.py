"""The stores; :mod:`.registry` finds one by the name that ``CACHE_TYPE`` gives."""
