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

from serve.endpoint import Endpoint
from serve.reply import Reply

if TYPE_CHECKING:
    from starlette.responses import HTMLResponse

    from serve.exchange import Exchange
    from serve.state import State

_ASSETS = Path(__file__).parents[1] / "assets"
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
DOCS_ASSETS = "/docs/assets"
# What FastAPI itself answers for the documentation.
DOCS_PATHS = (f"{DOCS_ASSETS}/*", "/openapi.json")


def endpoints(state: State) -> list[Endpoint]:
    """Return the page and the documentation."""
    root = state.settings.root_path
    swagger = get_swagger_ui_html(
        openapi_url=f"{root}/openapi.json",
        title="sentiment - API",
        swagger_js_url=f"{root}{DOCS_ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{DOCS_ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{root}/favicon.ico",
    )
    redoc = get_redoc_html(
        openapi_url=f"{root}/openapi.json",
        title="sentiment - API",
        redoc_js_url=f"{root}{DOCS_ASSETS}/redoc.standalone.js",
        redoc_favicon_url=f"{root}/favicon.ico",
        with_google_fonts=False,
    )
    is_open = state.settings.open_docs
    # The page's own files hold nothing secret; it asks for a key when the service wants one.
    return [
        _asset("/", "index.html"),
        _asset("/assets/page.css", "page.css"),
        _asset("/assets/page.js", "page.js"),
        _asset("/favicon.ico", "icon.svg"),
        _page("/docs", _documentation(swagger), is_open=is_open),
        _page("/redoc", _documentation(redoc), is_open=is_open),
    ]


def docs_assets() -> StaticFiles:
    """Return what the documentation's pages load; FastAPI would take it from elsewhere."""
    package = importlib.util.find_spec("fastapi_offline")
    assert package is not None
    assert package.origin is not None
    return StaticFiles(directory=Path(package.origin).parent / "static")


def _asset(path: str, name: str) -> Endpoint:
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

    return Endpoint("GET", path, asset, open=True, documentation={"include_in_schema": False})


def _page(path: str, reply: Reply, *, is_open: bool) -> Endpoint:
    async def page(exchange: Exchange) -> Reply:
        return reply

    return Endpoint("GET", path, page, open=is_open, documentation={"include_in_schema": False})


def _documentation(page: HTMLResponse) -> Reply:
    """Allow exactly the inline scripts that FastAPI writes into this page."""
    body = bytes(page.body)
    scripts = re.findall(rb"<script>(.*?)</script>", body, re.DOTALL)
    hashes = " ".join(
        f"'sha256-{b64encode(hashlib.sha256(script).digest()).decode()}'" for script in scripts
    )
    policy = (
        f"default-src 'none'; script-src 'self' {hashes}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    headers = (
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy.encode()),
    )
    return Reply(body, headers=headers)
