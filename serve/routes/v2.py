"""The Open Inference Protocol, version 2, with JSON tensors.

One input of BYTES strings, named ``text`` (any name is taken), shape ``[n]``, ``[n, 1]`` or
``[1, n]``; the outputs are ``label`` (BYTES, ``[n]``) and ``probabilities`` (FP64, ``[n, labels]``,
in the order of the labels that the metadata names), and, where the model or the parameter
``min_confidence`` withholds unsure answers, ``would_be`` (BYTES, ``[n]``): the label where ``label``
is empty. As JSON or, as `serve.routes.tensors` says, as bytes.
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
from serve.metrics import Door
from serve.model import LoadedModel
from serve.problems import ApiError, not_ready
from serve.reply import Reply
from serve.routes.schemas import DULL, REVIEW, WHOLE, Model, Parameters
from serve.routes.tensors import HEADER, read_strings, split_body, write_numbers, write_strings
from serve.routes.texts import Row, check_texts, classify, invalid, parse, rows, take_model
from serve.state import State

# What Triton and others know and we do not.
_UNSUPPORTED = (
    "classification", "sequence_id", "sequence_start", "sequence_end", "priority", "timeout",
    "shared_memory_region",
)  # fmt: skip

Extensions = Annotated[
    dict[str, Any] | None, Field(description="Extensions: those of binary tensors.")
]


def _with_data(schema: dict[str, Any]) -> None:
    """Say that data is there: only bytes, whose content type is not JSON, do without."""
    data = schema["properties"]["data"]
    data["anyOf"] = [kind for kind in data["anyOf"] if kind != {"type": "null"}]
    data.pop("default", None)
    schema["required"].append("data")


class InputTensor(Model):
    """Strings."""

    model_config = ConfigDict(json_schema_extra=_with_data)

    name: Annotated[str, Field(max_length=1000)]
    datatype: Literal["BYTES"]
    shape: Annotated[
        list[Annotated[int, Field(strict=True, ge=0), WHOLE]],
        Field(
            min_length=1,
            max_length=2,
            description="As many as there are strings: [n], [n, 1] or [1, n].",
            json_schema_extra={
                "anyOf": [
                    {"maxItems": 1},
                    {"prefixItems": [{"const": 1}]},
                    {"prefixItems": [{}, {"const": 1}], "minItems": 2},
                ]
            },
        ),
    ]
    data: Annotated[
        list[str] | list[list[str]] | None,
        Field(description="The strings, flat or in rows; missing where they follow as bytes."),
    ] = None
    parameters: Extensions = None


class RequestedOutput(Model):
    """An output that is asked for."""

    name: Literal["label", "would_be", "probabilities"]
    parameters: Extensions = None


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
    parameters: Annotated[
        Parameters | None,
        Field(description="`min_confidence`, and extensions: those of binary tensors."),
    ] = None


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
        """Name the server and the extensions it supports."""
        return Reply(
            to_json(
                {"name": "sentiment", "version": __version__, "extensions": ["binary_tensor_data"]}
            )
        )

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
        outputs = _tensors(model, -1)
        if not model.scorer.decision.withholds:
            del outputs["would_be"]
        return Reply(
            to_json(
                {
                    "name": model.name,
                    "versions": [model.version],
                    "platform": "sentiment_scorer",
                    "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
                    "outputs": [{"name": name, **about} for name, about in outputs.items()],
                }
            )
        )

    async def infer(exchange: Exchange) -> Reply:
        """Classify the strings of one tensor, as JSON or as bytes."""
        length = next((v for name, v in exchange.scope["headers"] if name == HEADER), None)
        body = await (exchange.json_body(typeless=True) if length is None else exchange.body())
        model = _find(state, exchange)
        document, data = split_body(body, length)
        request = cast(InferRequest, await parse(InferRequest, document, exchange.limits))
        texts = _texts(state, request, data)
        least = None if request.parameters is None else request.parameters.min_confidence
        pieces = await classify(state, exchange, model, texts, Door.V2, least)
        answers = list(rows(pieces, model, least))
        wanted = _wanted(request, model.scorer.decision.least(least) > 0)
        outputs, packed = _outputs(wanted, answers, model)
        return _reply(request, model, outputs, packed)

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
                response=InferResponse,
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


def _tensors(model: LoadedModel, n: int) -> dict[str, dict[str, Any]]:
    """Return what there is to say of each output but its data, of ``n`` texts."""
    return {
        "label": {"datatype": "BYTES", "shape": [n]},
        "would_be": {"datatype": "BYTES", "shape": [n]},
        "probabilities": {
            "datatype": "FP64",
            "shape": [n, len(model.labels)],
            "parameters": {"labels": list(model.labels)},
        },
    }


def _outputs(
    wanted: list[tuple[str, bool]], answers: list[Row], model: LoadedModel
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the tensors that are asked for, and the data of those whose data follow as bytes."""
    data: dict[str, list[Any]] = {
        "label": [said.label or "" for said in answers],
        "would_be": [said.would_be or "" for said in answers],
        "probabilities": [value for said in answers for value in said.probabilities],
    }
    about = _tensors(model, len(answers))
    outputs: list[dict[str, Any]] = []
    packed: list[bytes] = []
    for name, binary in wanted:
        tensor = {"name": name, **about[name]}
        if binary:
            write = write_numbers if name == "probabilities" else write_strings
            packed.append(write(data[name]))
            tensor["parameters"] = {
                **tensor.get("parameters", {}),
                "binary_data_size": len(packed[-1]),
            }
        else:
            tensor["data"] = data[name]
        outputs.append(tensor)
    return outputs, packed


def _reply(
    request: InferRequest, model: LoadedModel, outputs: list[dict[str, Any]], packed: list[bytes]
) -> Reply:
    answer: dict[str, Any] = {
        "model_name": model.name,
        "model_version": model.version,
        "outputs": outputs,
    }
    if request.id is not None:
        answer["id"] = request.id
    head = to_json(answer)
    if not packed:
        return Reply(head)
    headers = (
        (b"content-type", b"application/octet-stream"),
        (HEADER, b"%d" % len(head)),
    )
    return Reply(head + b"".join(packed), headers=headers)


def _wanted(request: InferRequest, withholds: bool) -> list[tuple[str, bool]]:
    """Return the outputs that are asked for, and whether as bytes.

    Where labels are withheld, they are told apart, unasked.

    Raises
    ------
    ApiError
        ``invalid_input`` for what is not supported, by its name.
    """
    own = {} if request.parameters is None else request.parameters.model_extra or {}
    for place, parameters in (
        ("parameters", own),
        *(
            (f"outputs.{n}.parameters", out.parameters)
            for n, out in enumerate(request.outputs or ())
        ),
    ):
        for name in parameters or {}:
            if name in _UNSUPPORTED:
                raise invalid(f"{place}.{name}", "is not supported by this service")
    default = bool(own.get("binary_data_output", False))
    if not request.outputs:
        more = ["would_be"] if withholds else []
        return [(name, default) for name in ("label", *more, "probabilities")]
    return [
        (out.name, bool((out.parameters or {}).get("binary_data", default)))
        for out in request.outputs
    ]


def _texts(state: State, request: InferRequest, data: bytes) -> list[str]:
    """Return the strings of the request, checked against its shape and our limits."""
    tensor = request.inputs[0]
    size = (tensor.parameters or {}).get("binary_data_size")
    if size is not None:
        if size != len(data):
            raise invalid("inputs.0.parameters.binary_data_size", f"must be {len(data)}")
        texts = read_strings(data, "inputs.0")
    elif tensor.data is None:
        raise invalid("inputs.0.data", "is missing")
    else:
        texts = _flat(tensor.data)
    n = len(texts)
    if math.prod(tensor.shape) != n or (len(tensor.shape) == 2 and 1 not in tensor.shape):
        raise invalid("inputs.0.shape", f"must be [{n}], [{n}, 1] or [1, {n}]")
    check_texts(state, texts, "inputs.0.data")
    return texts


def _flat(data: list[str] | list[list[str]]) -> list[str]:
    return [text for item in data for text in ([item] if isinstance(item, str) else item)]
