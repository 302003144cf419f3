"""All pages of a listing, and cursors that lead nowhere."""

# With the hex of a key: what a cursor looks like in one store or another, or might.
CURSORS = [
    "{}",
    "-1:{}",
    "0:{}",
    "-1:61:{}",
    "-1::{}",
    *(f"{n}:-1:{{}}" for n in range(3)),
    "0:0:{}",
]


def pages(state, prefix, limit):
    """All pages of items, each one no longer than `limit`."""
    found, cursor = [], None
    while True:
        page, cursor = state.items(prefix, cursor=cursor, limit=limit)
        assert len(page) <= limit
        found.append(page)
        assert len(found) < 1000
        if cursor is None:
            return found


def listed(state, prefix="", limit=100):
    """Key, value and ttl of all, in order; what is on two pages, as it may be, is there once."""
    found = {item.key: item[:3] for page in pages(state, prefix, limit) for item in page}
    return sorted(found.values())
