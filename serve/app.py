"""Assemble the application: from given parts, or from the environment alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import Request, Response
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from sentiment import __version__
from sentiment.errors import ModelNotFoundError
from sentiment.store import is_remote
from serve import drift, feedback, health, invocations, pages, predict, v2
from serve.metrics import Metrics
from serve.model import ModelHolder
from serve.problems import ApiError
from serve.scoring import Scoring
from serve.service import Service, as_error
from serve.settings import Settings, load_settings

if TYPE_CHECKING:
    from serve.exchange import Exchange
    from serve.model import LoadedModel

logger = logging.getLogger("sentiment.serve")

DESCRIPTION = """
Classifies text with a compiled linear model and says which words made the verdict.

Every error has the same shape: `code`, `message`, `request_id` (and `fields` for input that was
refused). The request id is also in the `X-Request-ID` header; send one to have it kept.
""".strip()


def create_app(
    model: ModelHolder, registry: CollectorRegistry, settings: Settings | None = None
) -> Service:
    """Return the application.

    Parameters
    ----------
    model : ModelHolder
        What is served; may still be empty.
    registry : CollectorRegistry
        Where the metrics are registered; one application for each registry.
    settings : Settings, optional
        From the environment when not given.
    """
    settings = settings or load_settings()
    metrics = Metrics(registry, settings.metrics_dir)
    scoring = Scoring(settings.threads, settings.queue_size)
    app = Service(
        model, metrics, scoring, settings,
        title="sentiment", version=__version__, description=DESCRIPTION,
    )  # fmt: skip

    def swapped(loaded: LoadedModel, before: LoadedModel | None, seconds: float) -> None:
        app.feedback.swapped(loaded)
        app.drift.swapped(loaded)
        metrics.swapped(loaded, before, seconds)

    model.on_swap = swapped
    model.on_refused = metrics.refused
    predict.add_routes(app)
    health.add_routes(app)
    drift.add_routes(app)
    feedback.add_routes(app)
    v2.add_routes(app)
    invocations.add_routes(app)
    pages.add_routes(app)
    app.add_exception_handler(HTTPException, _refuse)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _fail)
    return app


def from_env() -> Service:
    """Return the application that the environment describes, with its model loaded.

    Raises
    ------
    ModelNotFoundError
        There is no model, and ``SENTIMENT_WAIT_FOR_MODEL`` is not set.
    """
    settings = load_settings()
    model = ModelHolder(settings.output_dir, settings.model, settings.reload_model)
    app = create_app(model, CollectorRegistry(), settings)
    try:
        model.load()
    except ModelNotFoundError:
        if not settings.wait_for_model and not is_remote(settings.model or ""):
            raise
        logger.warning("no model yet: not ready until there is one")
    return app


async def _refuse(request: Request, error: HTTPException) -> Response:
    return _response(request, as_error(error))


async def _fail(request: Request, _error: Exception) -> Response:
    return _response(request, ApiError("internal"))


def _response(request: Request, problem: ApiError) -> Response:
    exchange: Exchange = request.scope["sentiment.exchange"]
    exchange.service.metrics.failed(problem.code)
    return Response(
        problem.body(exchange.request_id),
        problem.status,
        {name.decode("latin-1"): value.decode("latin-1") for name, value in problem.headers},
        "application/json",
    )
