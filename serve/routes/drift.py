"""``/model/drift``."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import to_json

from sentiment.drift.coverage import CoverageState
from serve.endpoint import Endpoint
from serve.exchange import Exchange
from serve.reply import Reply
from serve.routes.schemas import Model
from serve.routes.texts import take_model
from serve.state import State


class DriftSignal(Model):
    """One way in which what is seen differs from the reference."""

    value: float | None
    limit: Annotated[float, Field(description="A value above it is drift.")]
    drift: Annotated[bool | None, Field(description="null: too few texts to tell.")]
    meaning: str


class DriftCoverage(Model):
    """How much is answered, and how much that may be."""

    window: Annotated[float | None, Field(description="Share answered by the model's own rule.")]
    reference: float
    low: Annotated[float | None, Field(description="Below it is drift.")]
    high: Annotated[float | None, Field(description="Above it is drift.")]
    state: Annotated[
        CoverageState | None,
        Field(description="Where the share lies; null: too few texts to tell."),
    ]
    texts: Annotated[int, Field(description="Texts that the share is of.")]
    overridden: Annotated[
        int, Field(description="Texts left out: their request gave a `min_confidence` itself.")
    ]


class DriftResponse(Model):
    """The last predictions against the reference; empty but for the reason when there is none."""

    model: dict[str, str]
    drift: Annotated[bool | None, Field(description="Whether any signal is drift.")]
    reason: str | None = None
    texts: int | None = None
    minimum_texts: int | None = None
    window: dict[str, Any] | None = None
    reference: dict[str, Any] | None = None
    signals: dict[str, DriftSignal] | None = None
    labels: Annotated[
        dict[str, dict[str, float | None]] | None, Field(description="Share of each label given.")
    ] = None
    unknown_tokens: dict[str, float | None] | None = None
    low_confidence: dict[str, float | None] | None = None
    mean_length: dict[str, float | None] | None = None
    coverage: Annotated[
        DriftCoverage | None, Field(description="Of a model that withholds unsure answers.")
    ] = None
    accuracy: Annotated[
        dict[str, Any] | None, Field(description="Estimated without labels, and what that assumes.")
    ] = None
    feedback: dict[str, int] | None = None
    words: Annotated[
        dict[str, Any] | None,
        Field(description="The words that are used more, and less, than in training texts."),
    ] = None
    histograms: dict[str, dict[str, list[float]]] | None = None


def endpoints(state: State) -> list[Endpoint]:
    """Return what tells of drift."""

    async def drift(exchange: Exchange) -> Reply:
        """Compare the last predictions of all workers with what the model was made for."""
        take_model(state, exchange)
        return Reply(to_json(await asyncio.to_thread(state.drift.document), inf_nan_mode="null"))

    return [
        Endpoint(
            "GET", "/model/drift", drift, response=DriftResponse, errors=("model_not_ready",),
            documentation={
                "tags": ["operate"], "summary": "Does the model still fit what it sees?",
            },
        )
    ]  # fmt: skip
