"""``/feedback``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic_core import to_json

from serve.endpoint import Endpoint
from serve.exchange import Exchange
from serve.problems import ApiError
from serve.reply import Reply
from serve.routes.schemas import REVIEW, Model
from serve.routes.texts import parse
from serve.state import State


class FeedbackResponse(Model):
    """What became of an answer."""

    status: Annotated[
        Literal["recorded", "duplicate"],
        Field(description="duplicate: the prediction had been answered before; the first counts."),
    ]
    predicted: Annotated[str, Field(description="The label that was given.")]
    correct: Annotated[
        bool | None,
        Field(description="Whether it is the true one; null for a duplicate, which was not taken."),
    ]


class PastPrediction(Model):
    """What was said once, without the text: nothing is stored, the id itself says it."""

    sentiment: Annotated[str, Field(description="The label that was given.")]
    confidence: Annotated[float, Field(ge=0, le=1)]
    labels: Annotated[list[str], Field(description="Those of the model that gave it.")]
    model: Annotated[str, Field(description="The first half of its digest.")]
    timestamp: Annotated[str, Field(description="When, in UTC.")]


def endpoints(state: State) -> list[Endpoint]:
    """Return what takes true labels."""
    max_text = state.settings.max_text_length

    class FeedbackRequest(Model):
        """The true label of a prediction."""

        model_config = ConfigDict(
            json_schema_extra={
                "examples": [{"prediction_id": "AcK0…", "label": "negative", "text": REVIEW}]
            }
        )
        prediction_id: Annotated[
            str, Field(max_length=2000, description="From the answer to the prediction.")
        ]
        label: Annotated[str, Field(max_length=1000, description="The true label.")]
        text: Annotated[
            str | None,
            Field(
                max_length=max_text,
                description="The text, if it may be kept to train on; as it was classified.",
            ),
        ] = None

    async def feedback(exchange: Exchange) -> Reply:
        """Record the true label of a prediction.

        The first answer to a prediction counts. A text is stored only when it is sent along.
        """
        request: Any = await parse(FeedbackRequest, await exchange.json_body(), exchange.limits)
        model = state.model.current
        first, claim = await state.feedback.record(
            request.prediction_id,
            request.label,
            request.text,
            model.labels if model is not None else (),
        )
        if first and state.shadow is not None:
            state.shadow.answered(claim, request.label)
        document = {
            "status": "recorded" if first else "duplicate",
            "predicted": claim.label,
            "correct": claim.label == request.label if first else None,
        }
        return Reply(to_json(document))

    async def recall(exchange: Exchange) -> Reply:
        """Return what a prediction's id says: a link to a prediction holds it, and no text."""
        model = state.model.current
        said = await state.feedback.read(
            exchange.path_params["prediction_id"], model.labels if model is not None else ()
        )
        if said is None:
            raise ApiError("not_found", "this is no id that this service gave")
        claim, labels = said
        document = {
            "sentiment": claim.label,
            "confidence": claim.confidence,
            "labels": list(labels or (claim.label,)),
            "model": claim.digest,
            "timestamp": datetime.fromtimestamp(claim.time, UTC).isoformat(timespec="milliseconds"),
        }
        return Reply(to_json(document))

    return [
        Endpoint(
            "GET", "/predictions/{prediction_id}", recall, response=PastPrediction,
            errors=("not_found",),
            documentation={"tags": ["feedback"], "summary": "What a prediction's id says"},
        ),
        Endpoint(
            "POST", "/feedback", feedback, request=FeedbackRequest, response=FeedbackResponse,
            errors=("not_found", "contradiction", "feedback_unavailable"),
            documentation={
                "tags": ["feedback"], "summary": "Tell the true label of a prediction",
            },
        )
    ]  # fmt: skip
