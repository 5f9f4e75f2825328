"""Assemble the application: from given parts, or from the environment alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fastapi import Request, Response
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException

from sentiment import __version__
from sentiment.errors import ModelError, ModelNotFoundError
from sentiment.store import is_remote
from serve.model import ModelHolder
from serve.problems import ApiError
from serve.routes import drift, feedback, health, invocations, pages, predict, shadow, v2
from serve.service import Service, as_error
from serve.settings import Settings, load_settings
from serve.state import State

if TYPE_CHECKING:
    from serve.exchange import Exchange

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
    state = State.make(model, registry, settings)
    routes = (predict, health, drift, shadow, feedback, v2, invocations, pages)
    app = Service(
        state,
        [endpoint for module in routes for endpoint in module.endpoints(state)],
        open_paths=pages.DOCS_PATHS if settings.open_docs else (),
        title="sentiment",
        version=__version__,
        description=DESCRIPTION,
    )
    app.mount(pages.DOCS_ASSETS, pages.docs_assets(), name="docs-assets")

    def answer(request: Request, problem: ApiError) -> Response:
        exchange: Exchange = request.scope["sentiment.exchange"]
        state.metrics.failed(problem.code)
        return Response(
            problem.body(exchange.request_id),
            problem.status,
            {name.decode("latin-1"): value.decode("latin-1") for name, value in problem.headers},
            "application/json",
        )

    async def refuse(request: Request, error: HTTPException) -> Response:
        return answer(request, as_error(error, request.scope["path"]))

    async def fail(request: Request, _error: Exception) -> Response:
        return answer(request, ApiError("internal"))

    app.add_exception_handler(HTTPException, refuse)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, fail)
    return app


def from_env() -> Service:
    """Return the application that the environment describes, with its model loaded.

    Raises
    ------
    ModelNotFoundError, ModelError
        There is no model, or it is damaged, and ``SENTIMENT_WAIT_FOR_MODEL`` is not set.
    """
    settings = load_settings()
    model = ModelHolder(
        settings.output_dir,
        settings.model,
        settings.reload_model,
        shared=settings.metrics_dir and settings.metrics_dir / "weights",
    )
    app = create_app(model, CollectorRegistry(), settings)
    try:
        model.load()
    except ModelNotFoundError:
        if not settings.wait_for_model and not is_remote(settings.model or ""):
            raise
        logger.warning("no model yet: not ready until there is one")
    except ModelError as error:
        if not settings.wait_for_model:
            raise
        model.refuse(error)
    return app
