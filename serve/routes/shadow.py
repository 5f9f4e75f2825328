"""``/model/shadow``."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import to_json

from sentiment.errors import SentimentError
from serve.endpoint import Endpoint
from serve.exchange import Exchange
from serve.problems import ApiError
from serve.reply import Reply
from serve.routes.schemas import Model
from serve.routes.texts import take_model
from serve.state import State

logger = logging.getLogger("sentiment.serve")


class ShadowResponse(Model):
    """Champion and challenger on the same texts."""

    champion: dict[str, str]
    challenger: Annotated[
        dict[str, str | None],
        Field(description="Which it is, and its status: scoring, waiting, refused or failing."),
    ]
    counts: Annotated[dict[str, int], Field(description="Texts scored and failed, since ever.")]
    same_model: bool | None = None
    labels: Annotated[
        dict[str, list[str]] | None, Field(description="Only shared labels are compared.")
    ] = None
    window: dict[str, Any] | None = None
    agreement: Annotated[float | None, Field(description="Share of the same labels.")] = None
    answers: Annotated[
        list[dict[str, Any]] | None, Field(description="How often each pair of labels came.")
    ] = None
    scores: Annotated[
        dict[str, dict[str, float]] | None,
        Field(description="Quantiles of the probability of one label, of either model."),
    ] = None
    feedback: Annotated[
        dict[str, float | None] | None,
        Field(description="Both on the texts whose true label is known, each counted once."),
    ] = None
    strongest: Annotated[
        list[dict[str, Any]] | None,
        Field(description="Disagreements, widest apart first; texts only if they are kept."),
    ] = None


def endpoints(state: State) -> list[Endpoint]:
    """Return what tells of the challenger."""

    async def shadow(exchange: Exchange) -> Reply:
        """Compare what the challenger says with what the champion answered."""
        take_model(state, exchange)
        if state.shadow is None:
            raise ApiError(
                "not_found", "no challenger is named: sentiment serve --shadow ALIAS names one"
            )
        try:
            found = await asyncio.to_thread(state.shadow.document)
        except SentimentError as error:
            logger.warning("%s", error)
            raise ApiError("shadow_unavailable") from None
        return Reply(to_json(found, inf_nan_mode="null"))

    return [
        Endpoint(
            "GET", "/model/shadow", shadow, response=ShadowResponse,
            errors=("model_not_ready", "not_found", "shadow_unavailable"),
            documentation={"tags": ["operate"], "summary": "What would the challenger say?"},
        )
    ]  # fmt: skip
