"""MLflow's scoring protocol, for clients of ``mlflow models serve``.

Source: https://mlflow.org/docs/latest/deployment/deploy-model-locally (request format)
"""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any, cast

from pydantic import ConfigDict, Field, WithJsonSchema
from pydantic_core import to_json
from starlette.responses import PlainTextResponse

from sentiment import __version__
from serve.endpoint import Endpoint
from serve.exchange import Exchange
from serve.metrics import Door
from serve.problems import not_ready
from serve.reply import Reply
from serve.routes.schemas import DULL, REVIEW, Model, Parameters
from serve.routes.texts import check_texts, classify, invalid, parse, rows, take_model
from serve.state import State

Texts = list[str]
PLAIN = ((b"content-type", b"text/plain; charset=utf-8"),)


class Table(Model):
    """A table as columns and rows."""

    columns: list[str] | None = None
    data: list[list[Any]]


FORMS = ("inputs", "instances", "dataframe_split", "dataframe_records")

Record = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "anyOf": [
                {"required": ["text"], "properties": {"text": {"type": "string"}}},
                {
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": {"type": "string"},
                },
            ],
        }
    ),
]


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
        | list[str]
        | list[Annotated[list[str], Field(min_length=1, max_length=1)]]
        | list[Record]
        | dict[str, str | list[str]]
        | None,
        Field(description="Texts, records, or columns of texts."),
    ] = None
    instances: Annotated[
        list[str] | list[Record] | None, Field(description="Texts or records.")
    ] = None
    dataframe_split: Table | None = None
    dataframe_records: list[Record] | None = None
    params: Annotated[
        Parameters | None, Field(description="`min_confidence`; others are ignored.")
    ] = None


class Row(Model):
    """One prediction; each probability stands also in a column ``probability_<label>``."""

    label: str | None
    confidence: float
    probabilities: dict[str, float]
    note: str | None = None
    would_be: str | None = None


class InvocationsResponse(Model):
    """The predictions, in the order of the texts."""

    predictions: list[Row]


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
        check_texts(state, texts, "inputs")
        model = take_model(state, exchange)
        pieces = await classify(state, exchange, model, texts, Door.INVOCATIONS, least)
        columns = [f"probability_{label}" for label in model.labels]
        predictions = [
            {
                "label": said.label,
                "confidence": said.confidence,
                "probabilities": dict(zip(model.labels, said.probabilities, strict=True)),
                # the columns that the model gives when MLflow itself serves it
                **dict(zip(columns, said.probabilities, strict=True)),
                "note": said.note,
                "would_be": said.would_be,
            }
            for said in rows(pieces, model, least)
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


def _texts(request: InvocationsRequest) -> Texts:
    """Return the texts, whichever form they came in."""
    forms = {name: value for name in FORMS if (value := getattr(request, name)) is not None}
    if len(forms) != 1:
        raise invalid("body", f"give one of {', '.join(FORMS[:-1])} and {FORMS[-1]}")
    ((name, value),) = forms.items()
    if isinstance(value, str):
        return [value]
    if isinstance(value, Table):
        columns = value.columns or ["text"]
        column = _column(columns, name)
        place = columns.index(column)
        if any(len(row) != len(columns) for row in value.data):
            raise invalid(name, "a row has not as many values as there are columns")
        return _strings([row[place] for row in value.data], name)
    if isinstance(value, dict):
        found = value[_column(list(value), name)]
        return [found] if isinstance(found, str) else found
    if value and isinstance(value[0], list):
        return [row[0] for row in value]
    if value and isinstance(value[0], dict):
        column = _column(list(value[0]), name)
        return _strings([record.get(column) for record in value], name)
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
    return [row[place] for row in rows[1:]]


def _column(columns: list[str], form: str) -> str:
    if "text" in columns:
        return "text"
    if len(columns) == 1:
        return columns[0]
    raise invalid(form, "there is no column 'text'")


def _strings(values: list[Any], form: str) -> Texts:
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise invalid(f"{form}.{position}", "is not a string")
    return values
