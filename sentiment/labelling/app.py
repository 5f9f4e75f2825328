"""The page to label on, and the few addresses behind it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from sentiment.errors import DataError
from sentiment.labelling.desk import Desk

_ASSETS = Path(__file__).parent / "assets"
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LONGEST = 2000

Name = Annotated[str, Body(max_length=200)]


def create_app(desk: Desk, *, token: str | None, hosts: list[str]) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    desk : Desk
    token : str, optional
        Without it nothing of the data is told; the page has it from its address.
    hosts : list of str
        Names by which it may be asked: a page of elsewhere cannot point its own name here.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @app.middleware("http")
    async def guard(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        if token is not None and request.url.path.startswith("/api/"):
            given = request.headers.get("x-token", "")
            if not secrets.compare_digest(given.encode(), token.encode()):
                return JSONResponse(
                    {"message": "open the page by the address that was printed"}, 401
                )
        response = await call(request)
        response.headers["content-security-policy"] = _POLICY
        response.headers["referrer-policy"] = "no-referrer"
        response.headers["cache-control"] = "no-store"
        return response

    @app.exception_handler(DataError)
    async def refuse(_request: Request, error: DataError) -> Response:
        return JSONResponse({"message": str(error)}, 409)

    def asset(path: str, name: str) -> None:
        content = (_ASSETS / name).read_bytes()

        @app.get(path, name=name)
        async def page() -> Response:
            return Response(content, media_type=_TYPES[Path(name).suffix])

    asset("/", "label.html")
    asset("/label.css", "label.css")
    asset("/label.js", "label.js")

    @app.get("/api/state")
    async def state() -> dict[str, Any]:
        return await run_in_threadpool(desk.state)

    # A page of elsewhere cannot send JSON here without asking first, which is refused.
    @app.post("/api/next")
    async def next_(window: Annotated[str, Body(embed=True, max_length=200)]) -> dict[str, Any]:
        return {"item": await run_in_threadpool(desk.next, window)}

    @app.post("/api/answer")
    async def answer(
        window: Name,
        place: Annotated[int, Body(alias="id")],
        status: Annotated[Literal["labelled", "skipped", "unsure"], Body()],
        label: Annotated[str | None, Body()] = None,
        annotator: Name = "",
        note: Annotated[str, Body(max_length=_LONGEST)] = "",
    ) -> dict[str, Any]:
        await run_in_threadpool(
            desk.answer, window, place, label, status=status, annotator=annotator, note=note
        )
        return {"state": await run_in_threadpool(desk.state)}

    @app.post("/api/undo")
    async def undo(window: Name, annotator: Name = "") -> dict[str, Any]:
        return {"undone": await run_in_threadpool(desk.undo, window, annotator)}

    return app
