"""``/health``, ``/health/live``, ``/health/ready``, ``/metrics`` and ``/model/info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from starlette.responses import PlainTextResponse

from serve.endpoints import add_endpoint
from serve.exchange import JSON_HEADER, Exchange, Reply
from serve.metrics import CONTENT_TYPE
from serve.predict import take_model
from serve.problems import ApiError
from serve.schemas import HealthResponse, LiveResponse, ModelInfoResponse

if TYPE_CHECKING:
    from serve.service import Service


def add_routes(app: Service) -> None:
    """Add the routes that operators and machines look at."""

    async def health(exchange: Exchange) -> Reply:
        """Answer 200 only when predictions can be served and new clients are welcome."""
        model = app.model.current
        document: dict[str, Any] = {
            "status": "healthy" if app.ready else "unhealthy",
            "model_loaded": model is not None,
            "model_version": model.version if model else None,
        }
        if app.ready:
            return Reply(to_json(document))
        reason = "shutting down" if app.draining else "no model is loaded yet"
        problem = ApiError("model_not_ready", reason)
        document |= problem.document(exchange.request_id)
        return Reply(to_json(document), problem.status, (JSON_HEADER, (b"retry-after", b"2")))

    async def live(exchange: Exchange) -> Reply:
        """Answer 200 as long as the process runs; never depends on a model."""
        return Reply(b'{"status":"alive"}')

    async def metrics(exchange: Exchange) -> Reply:
        """Return the metrics of all workers in Prometheus' text format."""
        app.sample()
        return Reply(app.metrics.exposition(), headers=((b"content-type", CONTENT_TYPE.encode()),))

    async def info(exchange: Exchange) -> Reply:
        """Tell which model is served, what it was trained on and how good it is."""
        model = take_model(app, exchange)
        scorer = model.scorer
        info = dict(model.info)
        document = {
            "name": model.name,
            "version": model.version,
            "digest": model.digest,
            "run_id": model.run_id,
            "labels": list(model.labels),
            "positive_label": scorer.positive_label,
            "n_features": scorer.n_features,
            "size_bytes": scorer.size_bytes,
            "metrics": info.get("metrics") or {},
            "training_data": info.get("data"),
            "created": info.get("created"),
            "loaded": model.loaded.isoformat(timespec="milliseconds"),
        }
        return Reply(to_json(document, inf_nan_mode="null"))

    unavailable = {503: {"model": HealthResponse, "description": "It cannot serve."}}
    for path in ("/health", "/health/ready"):
        add_endpoint(
            app, "GET", path, health, response=HealthResponse, responses=unavailable,
            tags=["operate"], summary="Can it serve?",
        )  # fmt: skip
    add_endpoint(
        app, "GET", "/health/live", live, response=LiveResponse, tags=["operate"],
        summary="Does it run?",
    )  # fmt: skip
    add_endpoint(
        app, "GET", "/metrics", metrics, tags=["operate"], summary="Prometheus metrics",
        response_class=PlainTextResponse,
    )  # fmt: skip
    add_endpoint(
        app, "GET", "/model/info", info, response=ModelInfoResponse, errors=["model_not_ready"],
        tags=["operate"], summary="Which model is it?",
    )  # fmt: skip
    if app.settings.open_health:
        app.open_path("/health", "/health/*")
    if app.settings.open_metrics:
        app.open_path("/metrics")
