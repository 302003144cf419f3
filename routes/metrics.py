"""``/metrics``: what all worker processes have counted, for Prometheus."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, request
from prometheus_client.exposition import choose_encoder

from service import metrics
from service.contract.errors import problem
from service.contract.operation import Text, operation

from .health import several_processes

bp = Blueprint("metrics", __name__)


@bp.get("/metrics")
@operation(responses={200: Text(("text/plain", "application/openmetrics-text"))}, refuses=(501,))
def show() -> Response:
    """Return the metrics of this service, in the format that the client prefers."""
    if several_processes() and not current_app.config["METRICS_DIR"]:
        return problem(
            501,
            "Several processes count the requests, each for itself. Set METRICS_DIR to an empty "
            "directory that they share.",
            title="The metrics are not shared",
            kind="metrics-not-shared",
        )
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return Response(
        encode(metrics.of(current_app)),
        content_type=content_type,
        headers={"Cache-Control": "no-store"},
    )
