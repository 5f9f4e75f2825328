"""What every protocol does with a request: read it, check it, classify, count, add to drift."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from sentiment.records.answers import Note, note_of
from sentiment.scorer import Prediction, Predictions
from serve.exchange import Exchange, Limits
from serve.metrics import Door, WhoseRule
from serve.model import LoadedModel
from serve.problems import ApiError, not_ready
from serve.state import State

_MAX_FIELDS = 20
# Bytes of any JSON that are parsed in two milliseconds.
PARSED_INLINE = 65_536
_STRIDE = 262_144
_QUOTE = ord('"')
_INSIDE = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)

# One JSON escape: a surrogate pair, half of one, or anything else.
_ESCAPE = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def take_model(state: State, exchange: Exchange) -> LoadedModel:
    """Return the model for the whole of this request."""
    model = state.model.current
    if model is None:
        raise not_ready()
    exchange.model_version = model.version
    return model


async def classify_one(
    state: State,
    exchange: Exchange,
    model: LoadedModel,
    text: str,
    door: Door,
    least: float | None = None,
) -> tuple[Prediction, float]:
    """Classify one text; count it, and add it to drift.

    Parameters
    ----------
    state, exchange, model, text
    door : Door
    least : float, optional
        What the request says itself: an answer of less confidence is withheld.

    Returns
    -------
    prediction : Prediction
    seconds : float
        Since the request was read.
    """
    found = await state.scoring.predict_one(
        model, text, exchange.deadline, alone=state.pending <= 1
    )
    seconds = time.perf_counter() - exchange.started
    state.metrics.predicted_one(found.label, found.confidence, seconds)
    state.drift.add_one(model, text, found, least is None)
    if model.scorer.decision.unsure(found.confidence, least):
        state.metrics.withheld(door, _rule(least), 1)
    if state.shadow is not None:
        state.shadow.add_one(model, text, found)
    return found, seconds


async def classify(
    state: State,
    exchange: Exchange,
    model: LoadedModel,
    texts: Sequence[str],
    door: Door,
    least: float | None = None,
) -> list[Predictions]:
    """Classify texts, all with one model; count them, and add them to drift.

    Parameters
    ----------
    state, exchange, model, texts, door, least
        See `classify_one`.

    Returns
    -------
    list of Predictions
        Pieces, in the order of the texts.

    Raises
    ------
    ApiError
        ``timeout`` past the deadline, ``overloaded`` when too many requests wait.
    """
    pieces = (
        await state.scoring.predict(model, texts, exchange.deadline, alone=state.pending <= 1)
        if texts
        else []
    )
    state.metrics.predicted(
        [label for piece in pieces for label in piece.labels],
        [value for piece in pieces for value in piece.confidence.tolist()],
        time.perf_counter() - exchange.started,
    )
    state.drift.add(model, texts, pieces, least is None)
    unsure = model.scorer.decision.unsure
    if withheld := sum(int(unsure(piece.confidence, least).sum()) for piece in pieces):
        state.metrics.withheld(door, _rule(least), withheld)
    if state.shadow is not None:
        state.shadow.add(model, texts, pieces)
    return pieces


def _rule(least: float | None) -> WhoseRule:
    return WhoseRule.MODEL if least is None else WhoseRule.REQUEST


class Row(NamedTuple):
    """What is answered to one text.

    Attributes
    ----------
    label : str or None
        None when it is withheld.
    confidence : float
    probabilities : sequence of float
    note : Note or None
    would_be : str or None
        The label that is withheld.
    given : str
        The label, withheld or not.
    """

    label: str | None
    confidence: float
    probabilities: Sequence[float]
    note: Note | None
    would_be: str | None
    given: str


def row(found: Prediction, model: LoadedModel, least: float | None = None) -> Row:
    """Return the answer to one text; see `rows`."""
    return _row(
        found.label, found.confidence, found.probabilities, found.n_tokens, found.n_unknown,
        model.scorer.decision.least(least),
    )  # fmt: skip


def rows(
    pieces: Iterable[Predictions], model: LoadedModel, least: float | None = None
) -> Iterator[Row]:
    """Yield the answer to each text.

    Parameters
    ----------
    pieces : iterable of Predictions
    model : LoadedModel
    least : float, optional
        An answer of less confidence is withheld; by default as the model's decision says.
    """
    asked = model.scorer.decision.least(least)
    for piece in pieces:
        for values in zip(
            piece.labels,
            piece.confidence.tolist(),
            piece.probabilities.tolist(),
            piece.n_tokens.tolist(),
            piece.n_unknown.tolist(),
            strict=True,
        ):
            yield _row(*values, asked)


def _row(
    label: str,
    confidence: float,
    probabilities: Sequence[float],
    n_tokens: int,
    n_unknown: int,
    least: float,
) -> Row:
    note = note_of(confidence, least, n_tokens, n_unknown)
    if note is Note.ABSTAINED:
        return Row(None, confidence, probabilities, note, label, label)
    return Row(label, confidence, probabilities, note, None, label)


def check_texts(state: State, texts: Sequence[str], where: str) -> None:
    """Raise `ApiError` ``invalid_input`` when there are too many texts or one is too long."""
    settings = state.settings
    if len(texts) > settings.max_batch_size:
        raise invalid(where, f"holds more than {settings.max_batch_size} texts")
    for position, text in enumerate(texts):
        if len(text) > settings.max_text_length:
            raise invalid(
                f"{where}.{position}", f"is longer than {settings.max_text_length} characters"
            )


def invalid(field: str, message: str) -> ApiError:
    """Return the refusal of one field."""
    return ApiError("invalid_input", f"{field}: {message}", [{"field": field, "message": message}])


async def parse(model: type[BaseModel], body: bytes, limits: Limits) -> BaseModel:
    """Validate the bytes of a request; large ones off the event loop.

    Raises
    ------
    ApiError
        ``invalid_json`` for what is not JSON in UTF-8, ``invalid_input`` with the fields for
        what does not fit the model, ``body_too_large`` for more JSON around the texts than
        requests have: nobody else is answered while it is parsed.
    """
    if len(body) <= PARSED_INLINE:
        return _parse(model, body)
    return await asyncio.get_running_loop().run_in_executor(
        limits.pool, _parse_large, model, body, limits
    )


def _parse_large(model: type[BaseModel], body: bytes, limits: Limits) -> BaseModel:
    check_structure(body, limits)
    return _parse(model, body)


def check_structure(body: bytes, limits: Limits) -> None:
    """Look at a large body in turns that are short, before the parser looks at all of it in one.

    Strings are parsed at a gigabyte a second, numbers and objects fifty times more slowly, and
    the interpreter runs nothing else meanwhile. What is no JSON is left to the parser.

    Raises
    ------
    ApiError
        ``body_too_large`` for more JSON outside of strings than requests have, ``invalid_input``
        for a string that cannot be a text within its limit.
    """
    outside = place = 0
    size = len(body)
    while True:
        start = body.find(b'"', place)
        outside += (start if start >= 0 else size) - place + 2
        if outside > limits.max_structure_bytes:
            raise ApiError(
                "body_too_large",
                f"there are more than {limits.max_structure_bytes} bytes of JSON around the texts",
            )
        if start < 0:
            return
        place = start + 1
        end = body.find(b'"', place, place + limits.max_string_bytes + 1)
        if end < 0 or body.find(b"\\", place, end) >= 0:
            while place < size and body[place] != _QUOTE:
                before, place = place, _end_inside(body, place, min(place + _STRIDE, size))
                if place == before:  # a backslash ends the body
                    return
                if place - start > limits.max_string_bytes:
                    raise invalid("body", "holds a text that is too long")
            end = place
        place = end + 1


def _end_inside(body: bytes, place: int, end: int) -> int:
    """Return how far a string goes on."""
    match = _INSIDE.match(body, place, end)
    return match.end() if match is not None else place


def _parse(model: type[BaseModel], body: bytes) -> BaseModel:
    try:
        request: BaseModel = model.__pydantic_validator__.validate_json(body)
    except ValidationError as error:
        if b"\\u" in body and error.errors(include_url=False)[0]["type"] == "json_invalid":
            mended = _ESCAPE.sub(_mend, body)
            if mended != body:
                return _parse(model, mended)
        raise as_error(error) from None
    return request


def _mend(match: re.Match[bytes]) -> bytes:
    # Half a surrogate pair (an emoji cut in two) is no character: U+FFFD, as everywhere else.
    return rb"\ufffd" if match[2] else match[0]


def as_error(error: ValidationError) -> ApiError:
    """Return what pydantic found as our kind of error, without repeating the input."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    # Of several forms that a field may have, the one that fits furthest is meant; pydantic puts the
    # name of the form among those of the fields.
    found.sort(key=lambda entry: -len(entry["loc"]))
    if found[0]["type"] == "json_invalid":
        return ApiError("invalid_json", f"the body is not valid JSON: {_line(found[0]['msg'])}")
    fields = [
        {
            "field": ".".join(str(at) for at in entry["loc"] if "[" not in str(at)) or "body",
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
