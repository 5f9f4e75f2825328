"""The application object: FastAPI, with one ASGI layer around its own stack.

FastAPI's stack (middleware, router, dependencies, response classes) costs several times what it
takes to classify a review. Here it documents every route and runs the rare ones; one layer in
front gives each request its identity, its limits, its headers, its log line and its counts, and
hands paths without parameters straight to their endpoint.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from serve.access_log import AccessLog
from serve.encoding import LEAST_BYTES, packed, wants_gzip
from serve.endpoint import Call, Endpoint
from serve.exchange import ClientGoneError, Exchange
from serve.problems import CODES, ApiError, overloaded
from serve.reply import JSON_HEADER, Delivery, Reply

if TYPE_CHECKING:
    from pydantic import BaseModel
    from starlette.types import ASGIApp, Receive, Scope, Send

    from serve.state import State

logger = logging.getLogger("sentiment.serve")

TICK_SECONDS = 0.25
# Bytes that are packed in a millisecond or two.
_PACKED_INLINE = 100_000


ERROR = {"$ref": "#/components/schemas/ErrorResponse"}


class Service(FastAPI):
    """The prediction service as an ASGI application.

    Parameters
    ----------
    state : State
        What its routes share.
    endpoints : iterable of Endpoint
        Its routes.
    open_paths : sequence of str
        Further paths (a trailing ``/*`` stands for all below) that answer without an API key.
    **options
        FastAPI's own.
    """

    def __init__(
        self,
        state: State,
        endpoints: Iterable[Endpoint],
        *,
        open_paths: Sequence[str] = (),
        **options: Any,
    ) -> None:
        settings = state.settings
        super().__init__(
            docs_url=None,
            redoc_url=None,
            root_path=settings.root_path,
            lifespan=_lifespan,
            # A redirect would repeat whatever the client wrote as its Host.
            redirect_slashes=False,
            **options,
        )
        self.shared = state
        self.limits = state.limits
        self.log = AccessLog() if settings.access_log else None
        # Around everything, for refusals too must tell a page which origin may read them.
        self.cors = _cors(self.handle, settings.cors_origins) if settings.cors_origins else None
        self._open_paths = {path for path in open_paths if not path.endswith("/*")}
        self._open_prefixes = tuple(path[:-1] for path in open_paths if path.endswith("/*"))
        # (method, path) -> (call, limited): what needs no router.
        self._direct: dict[tuple[str, str], tuple[Call, bool]] = {}
        for endpoint in endpoints:
            self._add(endpoint)

    def _add(self, endpoint: Endpoint) -> None:
        """Document a route with FastAPI, and answer it without FastAPI's overhead."""
        path, call, limited = endpoint.path, endpoint.call, endpoint.request is not None
        codes = [*endpoint.errors, "internal"]
        if limited:
            codes += ["overloaded", "invalid_json", "body_too_large"]
            codes += ["unsupported_media_type", "invalid_input"]
        if self.shared.keys:
            codes.append("unauthorized")
        documentation = dict(endpoint.documentation)
        responses: dict[int | str, dict[str, Any]] = dict(documentation.pop("responses", {}))
        for code in sorted(codes, key=lambda code: CODES[code][0]):
            _document(responses, code)
        self.router.add_api_route(
            path,
            _signature(call, path, endpoint.request),
            methods=[endpoint.method],
            response_model=endpoint.response,
            responses=responses,
            route_class_override=_EndpointRoute,
            **documentation,
        )
        route = self.router.routes[-1]

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            exchange: Exchange = scope["sentiment.exchange"]
            exchange.scope = scope  # the router's copy holds the path's parameters
            await self.answer(exchange, scope["sentiment.delivery"], call, limited)

        assert isinstance(route, _EndpointRoute)
        route.app = run
        if endpoint.open:
            self._open_paths.add(path)
        if "{" not in path:
            self._direct[endpoint.method, path] = call, limited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        if scope["type"] != "http":
            # Past FastAPI's own telemetry, which wants OpenTelemetry's exporters.
            await Starlette.__call__(self, scope, receive, send)
        elif self.cors is not None:
            await self.cors(scope, receive, send)
        else:
            await self.handle(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        exchange = Exchange(scope, receive, self.limits)
        delivery = Delivery(send, exchange.request_id, self.shared.is_draining, exchange.trace)
        root = self.root_path
        path: str = scope["path"]
        if root:
            scope["root_path"] = root
            if path.startswith(root + "/"):
                path = path[len(root) :]
        method: str = scope["method"]
        direct = self._direct.get(("GET" if method == "HEAD" else method, path))
        route = path
        self.shared.running += 1
        try:
            if self.shared.keys and method != "OPTIONS":
                self._authenticate(path, exchange)
            if direct is None:
                route = await self._through_fastapi(scope, receive, exchange, delivery)
            else:
                await self.answer(exchange, delivery, *direct)
        except ApiError as problem:
            route = path if direct is not None else "unmatched"
            await self.refuse(problem, exchange, delivery)
        except Exception:
            logger.exception("request %s failed", exchange.request_id)
            if not delivery.started:  # FastAPI's stack answers errors that come through it
                await self.refuse(ApiError("internal"), exchange, delivery)
        finally:
            self.shared.running -= 1
            self.shared.metrics.answered(route, method, delivery.status)
            if self.log is not None:
                client = scope.get("client")
                self.log.add(
                    exchange.request_id,
                    client[0] if client else "",
                    method,
                    route,
                    path,
                    delivery.status,
                    exchange.milliseconds(),
                    delivery.size,
                    exchange.model_version,
                    exchange.trace,
                )

    async def _through_fastapi(
        self, scope: Scope, receive: Receive, exchange: Exchange, delivery: Delivery
    ) -> str:
        """Let FastAPI's router answer; return the template of the route that it found."""
        scope["sentiment.exchange"] = exchange
        scope["sentiment.delivery"] = delivery
        try:
            await Starlette.__call__(self, scope, receive, delivery.relay)
            return _template(scope)
        finally:
            # Scope and exchange name each other: the pair would wait for the garbage collector,
            # which then stops everybody for tens of milliseconds.
            del scope["sentiment.exchange"], scope["sentiment.delivery"]

    async def answer(
        self, exchange: Exchange, delivery: Delivery, call: Call, limited: bool
    ) -> None:
        """Run an endpoint and send its reply, or the problem that it raises."""
        state = self.shared
        try:
            if limited:
                # A body that is still on its way takes nobody's place.
                state.uploading += 1
                try:
                    await exchange.fetch()
                finally:
                    state.uploading -= 1
                if state.pending > state.settings.max_pending:
                    raise overloaded()
            reply = await call(exchange)
            if len(reply.body) >= LEAST_BYTES and exchange.accept_encoding:
                reply = await _as_asked(reply, exchange)
        except ApiError as problem:
            await self.refuse(problem, exchange, delivery)
        except ClientGoneError:
            delivery.status = 499  # nobody is there to answer; 499 is for the log
            delivery.started = True
        else:
            await delivery.reply(reply)

    async def refuse(self, problem: ApiError, exchange: Exchange, delivery: Delivery) -> None:
        """Count a problem and answer with it, unless an answer has begun."""
        self.shared.metrics.failed(problem.code)
        if not delivery.started:
            await delivery.reply(
                Reply(
                    problem.body(exchange.request_id),
                    problem.status,
                    (JSON_HEADER, *problem.headers),
                )
            )

    def _authenticate(self, path: str, exchange: Exchange) -> None:
        if path in self._open_paths or path.startswith(self._open_prefixes):
            return
        if not self.shared.keys.match(exchange.authorization):
            raise ApiError(
                "unauthorized",
                "send an API key as 'X-API-Key: KEY' or 'Authorization: Bearer KEY'",
                headers=((b"www-authenticate", b"Bearer"),),
            )


async def _as_asked(reply: Reply, exchange: Exchange) -> Reply:
    """Return a reply packed, where the client takes that."""
    names = {name for name, _ in reply.headers}
    if b"content-encoding" in names or not wants_gzip(exchange.accept_encoding):
        return reply
    large = len(reply.body) > _PACKED_INLINE
    body = await asyncio.to_thread(packed, reply.body) if large else packed(reply.body)
    more = ((b"content-encoding", b"gzip"), (b"vary", b"accept-encoding"))
    return Reply(body, reply.status, (*reply.headers, *more))


def _cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    from starlette.middleware.cors import CORSMiddleware

    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Content-Type", "X-API-Key", "Authorization", "X-Request-ID"],
        expose_headers=["X-Request-ID", "Retry-After"],
    )


def _template(scope: MutableMapping[str, Any]) -> str:
    """Return the matched route's template, never what the client wrote."""
    route = scope.get("route")
    if route is not None:
        return str(getattr(route, "path", "unmatched"))
    return "unmatched"


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    """Keep the background work of one worker running while it serves."""
    assert isinstance(app, Service)
    loop = asyncio.get_running_loop()
    state = app.shared

    async def tick() -> None:
        while True:
            state.sample()
            state.keys.look()
            await asyncio.sleep(TICK_SECONDS)

    state.metrics.workers.set(1)
    work = [
        loop.create_task(tick()),
        loop.create_task(state.model.watch()),
        loop.create_task(state.drift.run()),
    ]
    if state.shadow is not None:
        work.append(loop.create_task(state.shadow.run()))
    if app.log is not None:
        work.append(loop.create_task(app.log.run()))
    # What start-up made lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    try:
        yield {"state": state}
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        state.scoring.close()
        state.limits.pool.shutdown(wait=False, cancel_futures=True)
        state.drift.close()
        state.feedback.close()
        state.sample()
        state.metrics.workers.set(0)
        state.metrics.ready.set(0)
        if app.log is not None:
            app.log.write()


# What clients of related protocols ask for, and what there is instead.
_UNSPOKEN = {
    r"/v1/models(/|$)": "KServe's v1 protocol is not spoken here: POST /v2/models/NAME/infer",
    r"/v2/(repository|logging|trace|systemsharedmemory|cudasharedmemory)\b"
    r"|/v2/models/[^/]+(/versions/[^/]+)?/(config|stats|generate|generate_stream|trace)\b": (
        "this extension of the protocol is not supported; GET /v2 names those that are"
    ),
}


def as_error(error: HTTPException, path: str) -> ApiError:
    """Return FastAPI's own refusals (no such path, no such method) in our shape."""
    headers = tuple(
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in (error.headers or {}).items()
    )
    codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    code = codes.get(error.status_code, "bad_request")
    named = [said for spoken, said in _UNSPOKEN.items() if re.search(spoken, path)]
    return ApiError(code, named[0] if named and code == "not_found" else "", headers=headers)


class _EndpointRoute(APIRoute):
    """A route whose ``app`` is replaced after FastAPI has read its signature."""


def _signature(call: Call, path: str, request: type[BaseModel] | None) -> Callable[..., Any]:
    """Return a function that FastAPI can read the parameters from; it is never called."""

    def signature(**_: Any) -> None: ...

    parameters: list[tuple[str, Any]] = [(name, str) for name in re.findall(r"{(\w+)}", path)]
    if request is not None:
        parameters.append(("body", request))
    kind = inspect.Parameter.KEYWORD_ONLY
    signature.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind, annotation=model) for name, model in parameters]
    )
    signature.__name__ = getattr(call, "__name__", "endpoint")
    signature.__doc__ = call.__doc__
    return signature


def _document(responses: dict[int | str, dict[str, Any]], code: str) -> None:
    """Document an error; two codes of one status share an entry, with an example each."""
    status, meaning = CODES[code]
    entry = responses.setdefault(status, {"description": ""})
    if meaning not in entry["description"]:
        entry["description"] = " Or: ".join(filter(None, [entry["description"], meaning]))
    # By reference: FastAPI would build a validator for every route and status, which takes long.
    content = entry.setdefault("content", {}).setdefault("application/json", {"schema": ERROR})
    example = {"code": code, "message": meaning, "request_id": "5f0c6b1e9d3a47f2", "error": meaning}
    content.setdefault("examples", {})[code] = {"value": example}
