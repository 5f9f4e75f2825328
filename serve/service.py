"""The application object: FastAPI, with one ASGI layer around its own stack.

FastAPI's stack (middleware, router, dependencies, response classes) costs several times what it
takes to classify a review. Here it documents every route and runs the rare ones; one layer in
front gives each request its identity, its limits, its headers, its log line and its counts, and
hands paths without parameters straight to their endpoint.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from serve.access_log import AccessLog
from serve.drift import DriftMonitor
from serve.exchange import JSON_HEADER, ClientGoneError, Exchange, Reply
from serve.feedback import FeedbackDesk, Signer
from serve.problems import ApiError, overloaded

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from serve.metrics import Metrics
    from serve.model import ModelHolder
    from serve.scoring import Scoring
    from serve.settings import Settings

logger = logging.getLogger("sentiment.serve")

Endpoint = Callable[[Exchange], Awaitable[Reply]]

API_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
CLOSE_HEADER = (b"connection", b"close")
TICK_SECONDS = 0.25
_PLAIN = Reply(b"").headers  # the one header of most answers


class Service(FastAPI):
    """The prediction service as an ASGI application.

    Parameters
    ----------
    model : ModelHolder
        The model that is served.
    metrics : Metrics
        What is counted.
    scoring : Scoring
        How texts are scored.
    settings : Settings
        Limits, keys and paths.
    **options
        FastAPI's own.
    """

    def __init__(
        self,
        model: ModelHolder,
        metrics: Metrics,
        scoring: Scoring,
        settings: Settings,
        **options: Any,
    ) -> None:
        super().__init__(
            docs_url=None,
            redoc_url=None,
            root_path=settings.root_path,
            lifespan=_lifespan,
            **options,
        )
        self.model = model
        self.metrics = metrics
        self.scoring = scoring
        self.settings = settings
        self.drift = DriftMonitor(
            settings.drift_window,
            settings.drift_limits,
            settings.metrics_dir,
            settings.output_dir / "feedback.db",
            settings.feedback_window,
        )
        metrics.add(self.drift)
        key = settings.feedback_key
        # Without a key of its own, what this process gave is what it takes back.
        secret = key.get_secret_value().encode() if key is not None else os.urandom(32)
        self.feedback = FeedbackDesk(
            Signer(secret), settings.output_dir / "feedback.db", metrics.registry
        )
        self.log = AccessLog() if settings.access_log else None
        # Set by the server on SIGTERM: not ready any more, but still serving.
        self.draining = False
        # The protocol's set of running requests, once there is a server.
        self.tasks: set[Any] = set()
        self.connections: set[Any] = set()
        # (method, path) -> (endpoint, limited): what needs no router.
        self.direct: dict[tuple[str, str], tuple[Endpoint, bool]] = {}
        # Around everything, for refusals too must tell a page which origin may read them.
        self.cors = _cors(self.handle, settings.cors_origins) if settings.cors_origins else None
        self._open_paths: set[str] = set()
        self._open_prefixes: tuple[str, ...] = ()
        self._key_digests = [hashlib.sha256(key.encode()).digest() for key in settings.api_keys]
        self._running = 0

    @property
    def ready(self) -> bool:
        """Whether predictions can be served and new clients are welcome."""
        return self.model.current is not None and not self.draining

    def open_path(self, *paths: str) -> None:
        """Let these paths (a trailing ``/*`` stands for all below) answer without an API key."""
        exact = {path for path in paths if not path.endswith("/*")}
        self._open_paths |= exact
        self._open_prefixes += tuple(path[:-1] for path in paths if path.endswith("/*"))

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
        exchange = Exchange(self, scope, receive)
        scope["sentiment.exchange"] = exchange
        root = self.root_path
        path: str = scope["path"]
        if root:
            scope["root_path"] = root
            if path.startswith(root + "/"):
                path = path[len(root) :]
        method: str = scope["method"]
        answer = exchange.answer = Answer(self, send, exchange.request_id)
        direct = self.direct.get(("GET" if method == "HEAD" else method, path))
        route = path
        self._running += 1
        try:
            if self._key_digests and method != "OPTIONS":
                self._authenticate(path, exchange)
            if direct is None:
                await Starlette.__call__(self, scope, receive, answer.relay)
                route = _template(scope)
            else:
                await self.answer(exchange, *direct)
        except ApiError as problem:
            route = path if direct is not None else "unmatched"
            await self.refuse(problem, exchange)
        except Exception:
            logger.exception("request %s failed", exchange.request_id)
            if not answer.started:  # FastAPI's stack answers errors that come through it
                await self.refuse(ApiError("internal"), exchange)
        finally:
            # Scope and exchange name each other: the pair would wait for the garbage collector,
            # which then stops everybody for tens of milliseconds.
            del scope["sentiment.exchange"]
            self._running -= 1
            self.metrics.answered(route, method, answer.status)
            if self.log is not None:
                client = scope.get("client")
                self.log.add(
                    exchange.request_id,
                    client[0] if client else "",
                    method,
                    route,
                    path,
                    answer.status,
                    exchange.milliseconds(),
                    answer.size,
                    exchange.model_version,
                )

    async def answer(self, exchange: Exchange, endpoint: Endpoint, limited: bool) -> None:
        """Run an endpoint and send its reply, or the problem that it raises."""
        try:
            if limited and max(len(self.tasks), self._running) > self.settings.max_pending:
                raise overloaded()
            reply = await endpoint(exchange)
        except ApiError as problem:
            await self.refuse(problem, exchange)
        except ClientGoneError:
            exchange.answer.status = 499  # nobody is there to answer; 499 is for the log
            exchange.answer.started = True
        else:
            await exchange.answer.reply(reply)

    async def refuse(self, problem: ApiError, exchange: Exchange) -> None:
        """Count a problem and answer with it, unless an answer has begun."""
        self.metrics.failed(problem.code)
        if not exchange.answer.started:
            await exchange.answer.reply(
                Reply(
                    problem.body(exchange.request_id),
                    problem.status,
                    (JSON_HEADER, *problem.headers),
                )
            )

    def _authenticate(self, path: str, exchange: Exchange) -> None:
        if path in self._open_paths or path.startswith(self._open_prefixes):
            return
        given = hashlib.sha256(exchange.authorization).digest()
        # Every key is compared, and in constant time, so that the time tells nothing.
        matches = [hmac.compare_digest(given, digest) for digest in self._key_digests]
        if not any(matches):
            raise ApiError(
                "unauthorized",
                "send an API key as 'X-API-Key: KEY' or 'Authorization: Bearer KEY'",
                headers=((b"www-authenticate", b"Bearer"),),
            )

    def sample(self) -> None:
        """Bring the gauges up to date; called a few times a second instead of at each request."""
        metrics = self.metrics
        metrics.in_flight.set(max(len(self.tasks), self._running))
        metrics.connections.set(len(self.connections))
        metrics.queued.set(self.scoring.waiting)
        metrics.ready.set(1 if self.ready else 0)


class Answer:
    """The answer while it is sent: adds the headers that every answer has."""

    __slots__ = ("request_id", "send", "service", "size", "started", "status")

    def __init__(self, service: Service, send: Send, request_id: str) -> None:
        self.service = service
        self.send = send
        self.request_id = request_id
        self.status = 500
        self.size = 0
        self.started = False

    async def reply(self, reply: Reply) -> None:
        """Send an answer in one piece."""
        body = reply.body
        self.status = reply.status
        self.size = len(body)
        self.started = True
        await self.send(
            {
                "type": "http.response.start",
                "status": reply.status,
                "headers": [
                    *reply.headers,
                    (b"content-length", b"%d" % len(body)),
                    (b"x-request-id", self.request_id.encode("ascii")),
                    *self.headers(reply.headers),
                ],
            }
        )
        await self.send({"type": "http.response.body", "body": body})

    async def relay(self, message: Message) -> None:
        """Pass on what FastAPI's stack sends."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.started = True
            headers = message["headers"]
            message["headers"] = [
                *headers,
                (b"x-request-id", self.request_id.encode("ascii")),
                *self.headers(headers),
            ]
        else:
            self.size += len(message.get("body", b""))
        await self.send(message)

    def headers(self, given: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that every answer has, but for those that it has already."""
        headers = API_HEADERS
        if given is not _PLAIN:
            names = {name for name, _ in given}
            headers = tuple(header for header in API_HEADERS if header[0] not in names)
        # Clients that keep a connection to a process that is leaving should let go of it.
        return (*headers, CLOSE_HEADER) if self.service.draining else headers


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

    async def tick() -> None:
        while True:
            app.sample()
            await asyncio.sleep(TICK_SECONDS)

    app.metrics.workers.set(1)
    work = [
        loop.create_task(tick()),
        loop.create_task(app.model.watch()),
        loop.create_task(app.drift.run()),
    ]
    if app.log is not None:
        work.append(loop.create_task(app.log.run()))
    # What start-up made lives as long as the process: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    try:
        yield {"service": app}
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        app.scoring.close()
        app.drift.close()
        app.feedback.close()
        app.sample()
        app.metrics.workers.set(0)
        app.metrics.ready.set(0)
        if app.log is not None:
            app.log.write()


def as_error(error: HTTPException) -> ApiError:
    """Return FastAPI's own refusals (no such path, no such method) in our shape."""
    headers = tuple(
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in (error.headers or {}).items()
    )
    codes = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}
    return ApiError(codes.get(error.status_code, "bad_request"), headers=headers)
