"""``/v1/limits``: rate limits, which let so many hits through in so many seconds.

They are those of :meth:`Cache.limit`: hits of the application's own code count too.
"""

from __future__ import annotations

from flask import Blueprint, Response

from common import cache
from service.contract.errors import problem
from service.contract.operation import OF_A_WRITE, operation
from service.contract.replies import reply
from service.contract.schemas import Allowed, Hit

bp = Blueprint("limits", __name__, url_prefix="/v1/limits")


@bp.post("/<key:name>")
@operation(body=Hit, responses={200: Allowed}, refuses=(*OF_A_WRITE, 429))
def hit(name: str, body: Hit) -> Response:
    """Let a hit through, unless more have come than ``limit`` in ``per`` seconds.

    One that is refused counts for nothing; ``Retry-After`` says when it would be allowed.
    """
    allowance = cache.limit(name, body.limit, per=body.per, cost=body.cost)
    if not allowance:
        return problem(
            429,
            f"At most {allowance.limit} hits are allowed in {allowance.per:g} seconds; this one is "
            f"in {allowance.retry_after:.1f} seconds.",
            title="The rate limit is exceeded",
            kind="rate-limited",
            headers=allowance.headers(),
        )
    told = Allowed(name, allowance.limit, allowance.remaining, allowance.reset)
    return reply(told, headers=allowance.headers())
