"""MLflow's scoring protocol, for clients of ``mlflow models serve``.

Source: https://mlflow.org/docs/latest/deployment/deploy-model-locally (request format)
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Annotated, Any, cast

from pydantic import ConfigDict, Field, WithJsonSchema
from pydantic_core import to_json
from starlette.responses import PlainTextResponse

from sentiment import __version__
from sentiment.records.answers import Note
from serve.endpoint import Endpoint
from serve.exchange import Exchange
from serve.metrics import Door
from serve.problems import not_ready
from serve.reply import Reply
from serve.routes.schemas import DULL, REVIEW, Model, Parameters
from serve.routes.texts import Row, check_texts, classify, invalid, parse, rows, take_model
from serve.state import State

Texts = list[str | None]
PLAIN = ((b"content-type", b"text/plain; charset=utf-8"),)
FORMS = ("inputs", "instances", "dataframe_split", "dataframe_records")

# What a cell of a table is in JSON: MLflow's own server makes texts of numbers too, and answers
# nothing to a cell without text.
_CELL: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
_ONE = {"minProperties": 1, "maxProperties": 1}
_CELLS = {"anyOf": [{"type": "string"}, {"type": "array", "items": _CELL}]}

Records = Annotated[
    list[dict[str, Any]],
    WithJsonSchema(
        {
            "type": "array",
            "anyOf": [
                {"items": {"type": "object", "required": ["text"], "properties": {"text": _CELL}}},
                {"items": {"type": "object", **_ONE, "additionalProperties": _CELL}},
            ],
        }
    ),
]
Columns = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "anyOf": [
                {"required": ["text"], "properties": {"text": _CELLS}},
                {**_ONE, "additionalProperties": _CELLS},
            ],
        }
    ),
]


class DataframeSplit(Model):
    """A table as columns and rows; the texts stand in the column ``text``, or in the only one.

    A schema cannot say that each row has as many cells as there are columns, nor which of several
    cells is the text: such a table is refused with 422.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {
                    "properties": {
                        "columns": {"type": ["array", "null"], "maxItems": 1},
                        "data": {"items": {"minItems": 1, "maxItems": 1, "items": _CELL}},
                    }
                },
                {
                    "required": ["columns"],
                    "properties": {
                        "columns": {
                            "type": "array",
                            "minItems": 2,
                            "contains": {"const": "text"},
                            "maxContains": 1,
                        },
                        "data": {"items": {"minItems": 2}},
                    },
                },
            ]
        }
    )
    columns: list[str] | None = None
    data: list[list[Any]]


class InvocationsRequest(Model):
    """Exactly one of the four forms. The texts stand in a column ``text``, or in the only one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"inputs": [REVIEW, DULL]},
                {"dataframe_split": {"columns": ["text"], "data": [[REVIEW], [DULL]]}},
                {"dataframe_records": [{"text": REVIEW}, {"text": DULL}]},
            ],
            "oneOf": [
                {
                    "required": [form],
                    "properties": {
                        other: {"not": {"type": "null"}} if other == form else {"type": "null"}
                        for other in FORMS
                    },
                }
                for form in FORMS
            ],
        }
    )
    inputs: Annotated[
        str
        | list[str | None]
        | list[Annotated[list[str | None], Field(min_length=1, max_length=1)]]
        | Records
        | Columns
        | None,
        Field(description="Texts, records, or columns of texts."),
    ] = None
    instances: Annotated[
        list[str | None] | Records | None, Field(description="Texts or records.")
    ] = None
    dataframe_split: DataframeSplit | None = None
    dataframe_records: Records | None = None
    params: Annotated[
        Parameters | None, Field(description="`min_confidence`; others are ignored.")
    ] = None


class PredictedRow(Model):
    """One prediction; each probability stands also in a column ``probability_<label>``.

    A cell without text has an empty label and no numbers.
    """

    label: str | None
    confidence: float | None
    probabilities: dict[str, float] | None
    note: str | None = None
    would_be: str | None = None


class InvocationsResponse(Model):
    """The predictions, in the order of the texts."""

    predictions: list[PredictedRow]


def endpoints(state: State) -> list[Endpoint]:
    """Return MLflow's routes."""

    async def invocations(exchange: Exchange) -> Reply:
        """Classify texts as `mlflow models serve` does."""
        if exchange.content_type.partition(b";")[0].strip().lower() == b"text/csv":
            texts = _csv_texts(await exchange.body())
            least = None
        else:
            body = await exchange.json_body()
            request = cast(
                InvocationsRequest, await parse(InvocationsRequest, body, exchange.limits)
            )
            texts = _texts(request)
            least = None if request.params is None else request.params.min_confidence
        given = [text for text in texts if text is not None]
        check_texts(state, [text or "" for text in texts], "inputs")
        model = take_model(state, exchange)
        pieces = await classify(state, exchange, model, given, Door.INVOCATIONS, least)
        columns = [f"probability_{label}" for label in model.labels]
        answers = rows(pieces, model, least)
        predictions = [
            _unsaid(columns) if text is None else _said(next(answers), model.labels, columns)
            for text in texts
        ]
        return Reply(to_json({"predictions": predictions}))

    async def ping(exchange: Exchange) -> Reply:
        """Answer 200 when it can serve."""
        if not state.ready:
            raise not_ready()
        return Reply(b"\n", headers=PLAIN)

    async def version(exchange: Exchange) -> Reply:
        """Name the version of this software."""
        return Reply(__version__.encode(), headers=PLAIN)

    is_open = state.settings.open_health
    return [
        Endpoint(
            "POST", "/invocations", invocations, request=InvocationsRequest,
            response=InvocationsResponse, errors=("model_not_ready", "timeout"),
            documentation={"tags": ["MLflow"], "summary": "Classify texts"},
        ),
        Endpoint(
            "GET", "/ping", ping, errors=("model_not_ready",), open=is_open,
            documentation={
                "tags": ["MLflow"], "summary": "Can it serve?", "response_class": PlainTextResponse,
            },
        ),
        Endpoint(
            "GET", "/version", version, open=is_open,
            documentation={
                "tags": ["MLflow"], "summary": "Version of the service",
                "response_class": PlainTextResponse,
            },
        ),
    ]  # fmt: skip


def _unsaid(columns: Sequence[str]) -> dict[str, Any]:
    return {
        "label": "", "confidence": None, "probabilities": None, **dict.fromkeys(columns),
        "note": Note.NO_TEXT, "would_be": None,
    }  # fmt: skip


def _said(said: Row, labels: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    return {
        "label": said.label,
        "confidence": said.confidence,
        "probabilities": dict(zip(labels, said.probabilities, strict=True)),
        # the columns that the model gives when MLflow itself serves it
        **dict(zip(columns, said.probabilities, strict=True)),
        "note": said.note,
        "would_be": said.would_be,
    }


def _texts(request: InvocationsRequest) -> Texts:
    """Return the texts, whichever form they came in."""
    forms = {name: value for name in FORMS if (value := getattr(request, name)) is not None}
    if len(forms) != 1:
        raise invalid("body", f"give one of {', '.join(FORMS[:-1])} and {FORMS[-1]}")
    ((name, value),) = forms.items()
    if isinstance(value, str):
        return [value]
    if isinstance(value, DataframeSplit):
        columns = value.columns or ["text"]
        place = columns.index(_column(columns, name))
        if any(len(row) != len(columns) for row in value.data):
            raise invalid(name, "a row has not as many values as there are columns")
        return _cells([row[place] for row in value.data], name)
    if isinstance(value, dict):
        found = value[_column(list(value), name)]
        if not isinstance(found, str | list):
            raise invalid(name, "a column is no list")
        return [found] if isinstance(found, str) else _cells(found, name)
    if value and isinstance(value[0], list):
        return [row[0] for row in value]
    if value and isinstance(value[0], dict):
        if all("text" in record for record in value):
            return _cells([record["text"] for record in value], name)
        if all(len(record) == 1 for record in value):
            return _cells([cell for record in value for cell in record.values()], name)
        raise invalid(name, "not every record has a key 'text', or one key")
    return cast(Texts, value)


def _csv_texts(body: bytes) -> Texts:
    """Return the texts of a table as ``mlflow models serve`` takes it."""
    try:
        rows = list(csv.reader(io.StringIO(body.decode(), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise invalid("body", f"is not CSV in UTF-8 ({error})") from None
    rows = [row for row in rows if row]
    if not rows:
        raise invalid("body", "holds no header")
    place = rows[0].index(_column(rows[0], "body"))
    if any(len(row) != len(rows[0]) for row in rows):
        raise invalid("body", "a row has not as many values as there are columns")
    return [row[place] or None for row in rows[1:]]


def _column(columns: list[str], form: str) -> str:
    if columns.count("text") > 1:
        raise invalid(form, "there are several columns 'text'")
    if "text" in columns:
        return "text"
    if len(columns) == 1:
        return columns[0]
    raise invalid(form, "there is no column 'text'")


def _cells(values: list[Any], form: str) -> Texts:
    """Return what stands in cells as texts: numbers as they are written, nothing for null and NaN."""
    texts: Texts = []
    for position, value in enumerate(values):
        if isinstance(value, str):
            texts.append(value)
        elif value is None or (isinstance(value, float) and math.isnan(value)):
            texts.append(None)
        elif isinstance(value, int | float):
            texts.append(to_json(value).decode())
        else:
            raise invalid(f"{form}.{position}", "is neither a string nor a number")
    return texts
