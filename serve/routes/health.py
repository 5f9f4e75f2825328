"""``/health``, ``/health/live``, ``/health/ready``, ``/metrics`` and ``/model/info``."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_core import to_json
from starlette.responses import PlainTextResponse

from serve.endpoint import Endpoint
from serve.exchange import Exchange
from serve.metrics import CONTENT_TYPE, OPENMETRICS_TYPE
from serve.problems import ApiError
from serve.reply import JSON_HEADER, Reply
from serve.routes.schemas import HealthResponse, LiveResponse, ModelInfoResponse
from serve.routes.texts import take_model
from serve.state import State


def endpoints(state: State) -> list[Endpoint]:
    """Return the routes that operators and machines look at."""

    async def health(exchange: Exchange) -> Reply:
        """Answer 200 only when predictions can be served and new clients are welcome."""
        model = state.model.current
        document: dict[str, Any] = {
            "status": "healthy" if state.ready else "unhealthy",
            "model_loaded": model is not None,
            "model_version": model.version if model else None,
            "model_files_intact": state.model.intact if model else None,
        }
        if state.ready:
            return Reply(to_json(document))
        reason = "shutting down" if state.draining else "no model is loaded yet"
        problem = ApiError("model_not_ready", reason)
        document |= problem.document(exchange.request_id)
        return Reply(to_json(document), problem.status, (JSON_HEADER, (b"retry-after", b"2")))

    async def live(exchange: Exchange) -> Reply:
        """Answer 200 as long as the process runs; never depends on a model."""
        return Reply(b'{"status":"alive"}')

    async def metrics(exchange: Exchange) -> Reply:
        """Return the metrics of all workers in Prometheus' text format."""
        state.sample()
        # A scrape compares drift and asks the feedback database: not on the event loop.
        openmetrics = b"application/openmetrics-text" in exchange.accept
        text = await asyncio.to_thread(state.metrics.exposition, openmetrics=openmetrics)
        kind = OPENMETRICS_TYPE if openmetrics else CONTENT_TYPE
        return Reply(text, headers=((b"content-type", kind.encode()),))

    async def info(exchange: Exchange) -> Reply:
        """Tell which model is served, what it was trained on and how good it is."""
        model = take_model(state, exchange)
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

    settings = state.settings
    unavailable = {503: {"model": HealthResponse, "description": "It cannot serve."}}
    operate = {"tags": ["operate"]}
    return [
        *(
            Endpoint(
                "GET", path, health, response=HealthResponse, open=settings.open_health,
                documentation={
                    **operate, "summary": "Can it serve?", "responses": unavailable,
                },
            )
            for path in ("/health", "/health/ready")
        ),
        Endpoint(
            "GET", "/health/live", live, response=LiveResponse, open=settings.open_health,
            documentation={**operate, "summary": "Does it run?"},
        ),
        Endpoint(
            "GET", "/metrics", metrics, open=settings.open_metrics,
            documentation={
                **operate, "summary": "Prometheus metrics", "response_class": PlainTextResponse,
            },
        ),
        Endpoint(
            "GET", "/model/info", info, response=ModelInfoResponse, errors=("model_not_ready",),
            documentation={**operate, "summary": "Which model is it?"},
        ),
    ]  # fmt: skip
