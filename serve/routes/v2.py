"""The Open Inference Protocol, version 2, with JSON tensors.

One input of BYTES strings, named ``text`` (any name is taken), shape ``[n]`` or ``[n, 1]``; the
outputs are ``label`` (BYTES, ``[n]``) and ``probabilities`` (FP64, ``[n, labels]``, in the order
of the labels that the metadata names). The binary tensor extension is refused with 415.
Source: https://github.com/kserve/open-inference-protocol (specification/protocol/inference_rest.md)
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Field
from pydantic_core import to_json

from sentiment import __version__
from serve.endpoint import Call, Endpoint
from serve.exchange import Exchange
from serve.model import LoadedModel
from serve.problems import ApiError, not_ready
from serve.reply import Reply
from serve.routes.schemas import DULL, REVIEW, Model
from serve.routes.texts import check_texts, classify, invalid, parse, rows, take_model
from serve.state import State

Parameters = Annotated[
    dict[str, Any] | None, Field(description="Extensions; none is supported here.")
]


class InputTensor(Model):
    """Strings."""

    name: Annotated[str, Field(max_length=1000)]
    datatype: Literal["BYTES"]
    shape: Annotated[
        list[Annotated[int, Field(ge=0, strict=True)]], Field(min_length=1, max_length=2)
    ]
    data: Annotated[
        list[str] | list[Annotated[list[str], Field(min_length=1, max_length=1)]] | None,
        Field(description="The strings, flat or one in each row."),
    ] = None
    parameters: Parameters = None


class RequestedOutput(Model):
    """An output that is asked for."""

    name: Literal["label", "probabilities"]
    parameters: Parameters = None


class InferRequest(Model):
    """An inference request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "inputs": [
                        {"name": "text", "datatype": "BYTES", "shape": [2], "data": [REVIEW, DULL]}
                    ]
                }
            ]
        }
    )
    id: Annotated[str | None, Field(max_length=1000)] = None
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=1)]
    outputs: list[RequestedOutput] | None = None
    parameters: Parameters = None


class TensorMetadata(Model):
    """The name and shape of an input or output; -1 is any size."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None


class OutputTensor(TensorMetadata):
    """Strings or numbers, flat, row by row."""

    data: list[str] | list[float]


class InferResponse(Model):
    """An inference response."""

    id: str | None = None
    model_name: str
    model_version: str
    outputs: list[OutputTensor]


class ServerMetadata(Model):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class ModelMetadata(Model):
    """The model."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Live(Model):
    """The process runs."""

    live: bool


class Ready(Model):
    """It can serve."""

    ready: bool


class ModelReady(Ready):
    """The model can serve."""

    name: str


def endpoints(state: State) -> list[Endpoint]:
    """Return the routes of the protocol."""

    async def server_metadata(exchange: Exchange) -> Reply:
        """Name the server and the extensions it supports (none)."""
        return Reply(to_json({"name": "sentiment", "version": __version__, "extensions": []}))

    async def live(exchange: Exchange) -> Reply:
        """Answer 200 as long as the process runs."""
        return Reply(b'{"live":true}')

    async def ready(exchange: Exchange) -> Reply:
        """Answer 200 when inference works."""
        if not state.ready:
            raise not_ready()
        return Reply(b'{"ready":true}')

    async def model_ready(exchange: Exchange) -> Reply:
        """Answer 200 when this model can serve."""
        model = _find(state, exchange)
        if not state.ready:
            raise not_ready()
        return Reply(to_json({"name": model.name, "ready": True}))

    async def model_metadata(exchange: Exchange) -> Reply:
        """Describe the model's tensors."""
        model = _find(state, exchange)
        return Reply(
            to_json(
                {
                    "name": model.name,
                    "versions": [model.version],
                    "platform": "sentiment_scorer",
                    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
                    "outputs": [
                        {"name": "label", "datatype": "BYTES", "shape": [-1]},
                        {
                            "name": "probabilities",
                            "datatype": "FP64",
                            "shape": [-1, len(model.labels)],
                            "parameters": {"labels": list(model.labels)},
                        },
                    ],
                }
            )
        )

    async def infer(exchange: Exchange) -> Reply:
        """Classify the strings of one tensor."""
        for name, _ in exchange.scope["headers"]:
            if name == b"inference-header-content-length":
                raise _no_binary()
        body = await exchange.json_body(typeless=True)
        model = _find(state, exchange)
        request = cast(InferRequest, parse(InferRequest, body))
        texts = _texts(state, request)
        wanted = [output.name for output in request.outputs or ()] or ["label", "probabilities"]
        answers = list(rows(await classify(state, exchange, model, texts)))
        tensors: dict[str, dict[str, Any]] = {
            "label": {
                "datatype": "BYTES",
                "shape": [len(answers)],
                "data": [label for label, _, _ in answers],
            },
            "probabilities": {
                "datatype": "FP64",
                "shape": [len(answers), len(model.labels)],
                "parameters": {"labels": list(model.labels)},
                "data": [value for _, _, values in answers for value in values],
            },
        }
        document: dict[str, Any] = {
            "model_name": model.name,
            "model_version": model.version,
            "outputs": [{"name": name, **tensors[name]} for name in wanted],
        }
        if request.id is not None:
            document["id"] = request.id
        return Reply(to_json(document))

    is_open = state.settings.open_health

    def route(method: str, path: str, call: Call, summary: str, **fields: Any) -> Endpoint:
        fields.setdefault("errors", ("model_not_ready", "not_found"))
        documentation = {
            "tags": ["Open Inference Protocol"],
            "summary": summary,
            "response_model_exclude_none": True,
        }
        return Endpoint(method, path, call, documentation=documentation, **fields)

    found = [
        route("GET", "/v2", server_metadata, "The server", response=ServerMetadata, errors=()),
        route(
            "GET", "/v2/health/live", live, "Does it run?",
            response=Live, errors=(), open=is_open,
        ),
        route(
            "GET", "/v2/health/ready", ready, "Can it serve?",
            response=Ready, errors=("model_not_ready",), open=is_open,
        ),
    ]  # fmt: skip
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        found += [
            route("GET", path, model_metadata, "The model", response=ModelMetadata),
            route("GET", path + "/ready", model_ready, "Can it serve?", response=ModelReady),
            route(
                "POST", path + "/infer", infer, "Classify strings", request=InferRequest,
                response=InferResponse, limited=True,
                errors=("model_not_ready", "not_found", "timeout"),
            ),
        ]  # fmt: skip
    return found


def _find(state: State, exchange: Exchange) -> LoadedModel:
    model = take_model(state, exchange)
    name = exchange.path_params["name"]
    version = exchange.path_params.get("version", model.version)
    if name not in (model.name, "sentiment") or version != model.version:
        raise ApiError(
            "not_found", f"the model served is {model.name!r}, version {model.version!r}"
        )
    return model


def _texts(state: State, request: InferRequest) -> list[str]:
    """Return the strings of the request, checked against its shape and our limits."""
    tensor = request.inputs[0]
    for where in (tensor.parameters, request.parameters):
        if where and "binary_data_size" in where:
            raise _no_binary()
    if tensor.data is None:
        raise invalid("inputs.0.data", "is missing")
    texts = [item if isinstance(item, str) else item[0] for item in tensor.data]
    if math.prod(tensor.shape) != len(texts) or tensor.shape[1:] not in ([], [1]):
        raise invalid("inputs.0.shape", f"must be [{len(texts)}] or [{len(texts)}, 1]")
    check_texts(state, texts, "inputs.0.data")
    return texts


def _no_binary() -> ApiError:
    return ApiError(
        "unsupported_media_type",
        "binary tensors are not supported: send and ask for JSON (binary_data=False)",
    )
