"""``/predict``, ``/predict/batch`` and ``/explain``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from sentiment.answering import explanation_document
from serve.endpoint import Endpoint
from serve.exchange import Exchange
from serve.metrics import Door
from serve.model import LoadedModel
from serve.reply import Reply
from serve.routes.schemas import (
    ErrorResponse,
    ExplainResponse,
    PredictBatchResponse,
    PredictResponse,
    request_models,
)
from serve.routes.texts import Row, classify, classify_one, parse, row, rows, take_model
from serve.state import State

ECHO_CHARACTERS = 200


def endpoints(state: State) -> list[Endpoint]:
    """Return what classifies."""
    models = request_models(state.settings.max_text_length, state.settings.max_batch_size)

    async def predict(exchange: Exchange) -> Reply:
        """Classify one text."""
        request: Any = await parse(models.predict, await exchange.json_body(), exchange.limits)
        model = take_model(state, exchange)
        found, seconds = await classify_one(
            state, exchange, model, request.text, Door.PREDICT, request.min_confidence
        )
        said = row(found, model, request.min_confidence)
        answer = _prediction(state, model, request.text, said, _now())
        answer["processing_time_ms"] = round(seconds * 1000, 3)
        return Reply(to_json(answer))

    async def predict_batch(exchange: Exchange) -> Reply:
        """Classify several texts, all with the same model."""
        request: Any = await parse(models.batch, await exchange.json_body(), exchange.limits)
        model = take_model(state, exchange)
        texts: list[str] = request.texts
        pieces = await classify(state, exchange, model, texts, Door.BATCH, request.min_confidence)
        now = _now()
        answers = [
            _prediction(state, model, text, said, now)
            for text, said in zip(texts, rows(pieces, model, request.min_confidence), strict=True)
        ]
        total = round(exchange.milliseconds(), 3)
        return Reply(to_json({"predictions": answers, "total_processing_time_ms": total}))

    async def explain(exchange: Exchange) -> Reply:
        """Classify one text and say which words made the verdict.

        The contributions of a label and its intercept add up to its score exactly.
        """
        request: Any = await parse(models.explain, await exchange.json_body(), exchange.limits)
        model = take_model(state, exchange)
        answer = await state.scoring.run(
            _explanation, request.text, model, request.top, deadline=exchange.deadline
        )
        answer["processing_time_ms"] = round(exchange.milliseconds(), 3)
        return Reply(to_json(answer))

    errors = ("model_not_ready", "timeout")
    return [
        Endpoint(
            "POST", "/predict", predict, request=models.predict, response=PredictResponse,
            errors=errors,
            documentation={
                "tags": ["predict"], "summary": "Classify one text",
                # puts it among the schemas
                "responses": {500: {"model": ErrorResponse, "description": ""}},
            },
        ),
        Endpoint(
            "POST", "/predict/batch", predict_batch, request=models.batch,
            response=PredictBatchResponse, errors=errors,
            documentation={"tags": ["predict"], "summary": "Classify several texts"},
        ),
        Endpoint(
            "POST", "/explain", explain, request=models.explain, response=ExplainResponse,
            errors=errors,
            documentation={"tags": ["predict"], "summary": "Classify one text and say why"},
        ),
    ]  # fmt: skip


def _prediction(state: State, model: LoadedModel, text: str, said: Row, now: str) -> dict[str, Any]:
    """Return one prediction as the API gives it."""
    return {
        "text": _shorten(text),
        "sentiment": said.label,
        "confidence": said.confidence,
        "probabilities": dict(zip(model.labels, said.probabilities, strict=True)),
        "note": said.note,
        "would_be": said.would_be,
        "model_version": model.version,
        "prediction_id": state.feedback.signer.sign(
            model.digest, said.given, said.confidence, text
        ),
        "timestamp": now,
    }


def _shorten(text: str) -> str:
    return text if len(text) <= ECHO_CHARACTERS else text[: ECHO_CHARACTERS - 1] + "…"


def _now() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _explanation(text: str, model: LoadedModel, top: int | None) -> dict[str, Any]:
    """Return the explanation of one text as the API gives it."""
    found = model.scorer.explain(text, top)
    document = explanation_document(model.scorer, found, "sentiment")
    return {**document, "model_version": model.version}
