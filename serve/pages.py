"""The page for people at ``/``, and the documentation, with no asset from outside."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.responses import HTMLResponse

from serve.endpoints import add_endpoint
from serve.exchange import Exchange, Reply

if TYPE_CHECKING:
    from starlette.requests import Request

    from serve.service import Service

_ASSETS = Path(__file__).parent / "assets"
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_DOCS_ASSETS = "/docs/assets"


def add_routes(app: Service) -> None:
    """Add the page and the documentation."""
    for path, name in (
        ("/", "index.html"),
        ("/assets/page.css", "page.css"),
        ("/assets/page.js", "page.js"),
        ("/favicon.ico", "icon.svg"),
    ):
        _add_asset(app, path, name)

    # fastapi-offline ships what FastAPI would load from a content delivery network.
    package = importlib.util.find_spec("fastapi_offline")
    assert package is not None
    assert package.origin is not None
    static = Path(package.origin).parent / "static"
    app.mount(_DOCS_ASSETS, StaticFiles(directory=static), name="docs-assets")
    root = app.settings.root_path

    async def swagger(request: Request) -> HTMLResponse:
        return _documentation(
            get_swagger_ui_html(
                openapi_url=f"{root}/openapi.json",
                title="sentiment - API",
                swagger_js_url=f"{root}{_DOCS_ASSETS}/swagger-ui-bundle.js",
                swagger_css_url=f"{root}{_DOCS_ASSETS}/swagger-ui.css",
                swagger_favicon_url=f"{root}/favicon.ico",
            )
        )

    async def redoc(request: Request) -> HTMLResponse:
        return _documentation(
            get_redoc_html(
                openapi_url=f"{root}/openapi.json",
                title="sentiment - API",
                redoc_js_url=f"{root}{_DOCS_ASSETS}/redoc.standalone.js",
                redoc_favicon_url=f"{root}/favicon.ico",
                with_google_fonts=False,
            )
        )

    app.add_route("/docs", swagger, methods=["GET"], include_in_schema=False)
    app.add_route("/redoc", redoc, methods=["GET"], include_in_schema=False)
    # The page's own files hold nothing secret; it asks for a key when the service wants one.
    app.open_path("/", "/assets/*", "/favicon.ico")
    if app.settings.open_docs:
        app.open_path("/docs", "/docs/*", "/redoc", "/openapi.json")


def _add_asset(app: Service, path: str, name: str) -> None:
    file = _ASSETS / name
    data = file.read_bytes()
    etag = b'"%b"' % hashlib.sha256(data).hexdigest()[:20].encode()
    headers = (
        (b"content-type", f"{_TYPES[file.suffix]}; charset=utf-8".encode()),
        (b"content-security-policy", _PAGE_POLICY.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
        (b"etag", etag),
    )

    async def asset(exchange: Exchange) -> Reply:
        if (b"if-none-match", etag) in exchange.scope["headers"]:
            return Reply(b"", 304, headers)
        return Reply(data, headers=headers)

    add_endpoint(app, "GET", path, asset, include_in_schema=False)


def _documentation(page: HTMLResponse) -> HTMLResponse:
    """Allow exactly the inline scripts that FastAPI writes into this page."""
    scripts = re.findall(rb"<script>(.*?)</script>", bytes(page.body), re.DOTALL)
    hashes = " ".join(
        f"'sha256-{b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts
    )
    page.headers["content-security-policy"] = (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    return page
