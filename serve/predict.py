"""``/predict``, ``/predict/batch`` and ``/explain``."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from serve.endpoints import add_endpoint
from serve.exchange import Exchange, Reply
from serve.problems import ApiError, not_ready
from serve.schemas import (
    ErrorResponse,
    ExplainResponse,
    PredictBatchResponse,
    PredictResponse,
    request_models,
)

if TYPE_CHECKING:
    from sentiment.scorer import Predictions
    from serve.model import LoadedModel
    from serve.service import Service

ECHO_CHARACTERS = 200
_MAX_FIELDS = 20

# One JSON escape: a surrogate pair, half of one, or anything else.
_ESCAPE = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def add_routes(app: Service) -> None:
    """Add the prediction routes to `app`."""
    models = request_models(app.settings.max_text_length, app.settings.max_batch_size)
    scoring = app.scoring
    metrics = app.metrics

    async def predict(exchange: Exchange) -> Reply:
        """Classify one text."""
        request = parse(models.predict, await exchange.json_body())
        model = take_model(app, exchange)
        text: str = request.text  # type: ignore[attr-defined]
        one = await scoring.run(model.scorer.predict_one, text, deadline=exchange.deadline)
        answer = prediction(
            app, model, text, one.label, one.confidence, one.probabilities, timestamp()
        )
        seconds = time.perf_counter() - exchange.started
        answer["processing_time_ms"] = round(seconds * 1000, 3)
        metrics.predicted_one(one.label, one.confidence, seconds)
        app.drift.add_one(model, text, one)
        return Reply(to_json(answer))

    async def predict_batch(exchange: Exchange) -> Reply:
        """Classify several texts, all with the same model."""
        request = parse(models.batch, await exchange.json_body())
        model = take_model(app, exchange)
        texts: list[str] = request.texts  # type: ignore[attr-defined]
        pieces = await scoring.predict(model, texts, exchange.deadline)
        now = timestamp()
        answers = [
            prediction(app, model, text, label, confidence, probabilities, now)
            for text, (label, confidence, probabilities) in zip(texts, rows(pieces), strict=True)
        ]
        count(app, pieces, exchange)
        app.drift.add(model, texts, pieces)
        total = round(exchange.milliseconds(), 3)
        return Reply(to_json({"predictions": answers, "total_processing_time_ms": total}))

    async def explain(exchange: Exchange) -> Reply:
        """Classify one text and say which words made the verdict.

        The contributions of a label and its intercept add up to its score exactly.
        """
        request: Any = parse(models.explain, await exchange.json_body())
        model = take_model(app, exchange)
        answer = await scoring.run(
            explanation, request.text, model, request.top, deadline=exchange.deadline
        )
        answer["processing_time_ms"] = round(exchange.milliseconds(), 3)
        return Reply(to_json(answer))

    errors = ("model_not_ready", "timeout")
    add_endpoint(
        app, "POST", "/predict", predict, request=models.predict, response=PredictResponse,
        errors=errors, limited=True, tags=["predict"], summary="Classify one text",
        responses={500: {"model": ErrorResponse, "description": ""}},  # puts it among the schemas
    )  # fmt: skip
    add_endpoint(
        app, "POST", "/predict/batch", predict_batch, request=models.batch,
        response=PredictBatchResponse, errors=errors, limited=True, tags=["predict"],
        summary="Classify several texts",
    )  # fmt: skip
    add_endpoint(
        app, "POST", "/explain", explain, request=models.explain, response=ExplainResponse,
        errors=errors, limited=True, tags=["predict"], summary="Classify one text and say why",
    )  # fmt: skip


def parse(model: type[BaseModel], body: bytes) -> BaseModel:
    """Validate the bytes of a request.

    Raises
    ------
    ApiError
        ``invalid_json`` for what is not JSON in UTF-8, ``invalid_input`` with the fields for
        what does not fit the model.
    """
    try:
        request: BaseModel = model.__pydantic_validator__.validate_json(body)
    except ValidationError as error:
        if b"\\u" in body and error.errors(include_url=False)[0]["type"] == "json_invalid":
            mended = _ESCAPE.sub(_mend, body)
            if mended != body:
                return parse(model, mended)
        raise as_error(error) from None
    return request


def _mend(match: re.Match[bytes]) -> bytes:
    # Half a surrogate pair (an emoji cut in two) is no character: U+FFFD, as everywhere else.
    return rb"\ufffd" if match[2] else match[0]


def as_error(error: ValidationError) -> ApiError:
    """Return what pydantic found as our kind of error, without repeating the input."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    if found[0]["type"] == "json_invalid":
        return ApiError("invalid_json", f"the body is not valid JSON: {_line(found[0]['msg'])}")
    fields = [
        {
            "field": ".".join(map(str, entry["loc"])) or "body",
            "message": entry["msg"].removeprefix("Value error, "),
        }
        for entry in found[:_MAX_FIELDS]
    ]
    message = f"{fields[0]['field']}: {fields[0]['message']}"
    if len(found) > 1:
        message += f" (and {len(found) - 1} more)"
    return ApiError("invalid_input", message, fields)


def _line(message: str) -> str:
    return " ".join(message.removeprefix("Invalid JSON: ").split())


def take_model(app: Service, exchange: Exchange) -> LoadedModel:
    """Return the model for the whole of this request."""
    model = app.model.current
    if model is None:
        raise not_ready()
    exchange.model_version = model.version
    return model


def prediction(
    app: Service,
    model: LoadedModel,
    text: str,
    label: str,
    confidence: float,
    probabilities: Sequence[float],
    now: str,
) -> dict[str, Any]:
    """Return one prediction as the API gives it."""
    return {
        "text": shorten(text),
        "sentiment": label,
        "confidence": confidence,
        "probabilities": dict(zip(model.labels, probabilities, strict=True)),
        "model_version": model.version,
        "prediction_id": app.feedback.signer.sign(model.digest, label, confidence, text),
        "timestamp": now,
    }


def shorten(text: str) -> str:
    """Return the beginning of a text."""
    return text if len(text) <= ECHO_CHARACTERS else text[: ECHO_CHARACTERS - 1] + "…"


def timestamp() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def rows(pieces: Iterable[Predictions]) -> Iterator[tuple[str, float, list[float]]]:
    """Yield label, confidence and probabilities of each text."""
    for piece in pieces:
        yield from zip(
            piece.labels, piece.confidence.tolist(), piece.probabilities.tolist(), strict=True
        )


def count(app: Service, pieces: Sequence[Predictions], exchange: Exchange) -> None:
    """Count a request of many texts."""
    app.metrics.predicted(
        [label for piece in pieces for label in piece.labels],
        [value for piece in pieces for value in piece.confidence.tolist()],
        time.perf_counter() - exchange.started,
    )


def explanation(text: str, model: LoadedModel, top: int | None) -> dict[str, Any]:
    """Return the explanation of one text as the API gives it."""
    found = model.scorer.explain(text, top)
    labels = model.labels

    def by_label(scores: Sequence[float]) -> dict[str, float]:
        # Two classes share one score: what speaks for the second speaks against the first.
        both = (-scores[0], scores[0]) if len(scores) == 1 else scores
        return dict(zip(labels, both, strict=True))

    return {
        "text": text,
        "sentiment": found.label,
        "confidence": found.probabilities[found.label],
        "probabilities": found.probabilities,
        "scores": by_label(found.scores),
        "intercept": by_label(found.intercept),
        "contributions": [
            {
                "ngram": part.ngram,
                "count": part.count,
                "contribution": by_label(part.scores),
                "spans": part.spans,
            }
            for part in found.contributions
        ],
        "rest": by_label(found.rest),
        "model_version": model.version,
    }
