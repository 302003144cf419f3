"""``/``: the page that shows the state and lets people try it, and its static files."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, Response, current_app, make_response, render_template, request
from flask.blueprints import BlueprintSetupState

bp = Blueprint("pages", __name__)

# Scripts and styles come from files of this server alone, and no script makes HTML out of text:
# what others have stored cannot become code in a browser.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
)
NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}
HEADERS = {
    **NO_SNIFFING,
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
}


@bp.get("/")
def show() -> Response:
    """Return the page, the same for everybody: it asks the API for all that it shows."""
    config = current_app.config
    needs_token = bool(config.get("API_TOKEN") or config.get("API_READ_TOKEN"))
    page = make_response(render_template("page.html", needs_token=needs_token, demo=config["DEMO"]))
    page.headers.update(HEADERS)
    page.add_etag()
    page.make_conditional(request)
    return page


@bp.record_once
def _guard_static_files(setup: BlueprintSetupState) -> None:
    """Send static files with the header that keeps browsers from guessing another type."""
    app = setup.app
    assert isinstance(app, Flask)
    send = app.view_functions["static"]

    def static(filename: str) -> Any:
        response = make_response(send(filename=filename))
        response.headers.update(NO_SNIFFING)
        return response

    app.view_functions["static"] = static
