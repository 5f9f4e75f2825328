"""Routes that FastAPI documents and that are answered without its overhead.

A route is declared like any other (a function whose signature names the request and response
models), but what runs is an `Endpoint`: it gets the exchange, reads the body itself, validates
the bytes with pydantic-core in one step, and returns bytes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute

from serve.problems import CODES

if TYPE_CHECKING:
    from pydantic import BaseModel
    from starlette.types import Receive, Scope, Send

    from serve.exchange import Exchange
    from serve.service import Endpoint, Service

ERROR = {"$ref": "#/components/schemas/ErrorResponse"}


def add_endpoint(
    app: Service,
    method: str,
    path: str,
    endpoint: Endpoint,
    *,
    request: type[BaseModel] | None = None,
    response: Any = None,
    errors: Iterable[str] = (),
    limited: bool = False,
    **documentation: Any,
) -> None:
    """Add a route.

    Parameters
    ----------
    app : Service
    method, path : str
        The path may have parameters.
    endpoint : Endpoint
        What answers; its docstring is the route's description.
    request, response : model
        What the documentation says goes in and out.
    errors : iterable of str
        The codes that this route can answer with, beside those that every route can.
    limited : bool
        Whether the worker's concurrency limit applies.
    **documentation
        ``summary``, ``tags``, ``responses`` and the like, for FastAPI.
    """
    codes = [*errors, *(["overloaded"] if limited else []), "internal"]
    if request is not None:
        codes += ["invalid_json", "body_too_large", "unsupported_media_type", "invalid_input"]
    if app.settings.api_keys:
        codes.append("unauthorized")
    responses: dict[int | str, dict[str, Any]] = dict(documentation.pop("responses", {}))
    for code in sorted(codes, key=lambda code: CODES[code][0]):
        _document(responses, code)
    app.router.add_api_route(
        path,
        _signature(endpoint, path, request),
        methods=[method],
        response_model=response,
        responses=responses,
        route_class_override=EndpointRoute,
        **documentation,
    )
    route = app.router.routes[-1]

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope["sentiment.exchange"]
        exchange.scope = scope  # the router's copy holds the path's parameters
        await app.answer(exchange, endpoint, limited)

    assert isinstance(route, EndpointRoute)
    route.app = run
    if "{" not in path:
        app.direct[method, path] = endpoint, limited


class EndpointRoute(APIRoute):
    """A route whose ``app`` is replaced after FastAPI has read its signature."""


def _signature(
    endpoint: Endpoint, path: str, request: type[BaseModel] | None
) -> Callable[..., Any]:
    """Return a function that FastAPI can read the parameters from; it is never called."""

    def signature(**_: Any) -> None: ...

    parameters: list[tuple[str, Any]] = [(name, str) for name in re.findall(r"{(\w+)}", path)]
    if request is not None:
        parameters.append(("body", request))
    kind = inspect.Parameter.KEYWORD_ONLY
    signature.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, kind, annotation=model) for name, model in parameters]
    )
    signature.__name__ = getattr(endpoint, "__name__", "endpoint")
    signature.__doc__ = endpoint.__doc__
    return signature


def _document(responses: dict[int | str, dict[str, Any]], code: str) -> None:
    """Document an error; two codes of one status share an entry, with an example each."""
    status, meaning = CODES[code]
    entry = responses.setdefault(status, {"description": ""})
    if meaning not in entry["description"]:
        entry["description"] = " Or: ".join(filter(None, [entry["description"], meaning]))
    # By reference: FastAPI would build a validator for every route and status, which takes long.
    content = entry.setdefault("content", {}).setdefault("application/json", {"schema": ERROR})
    example = {"code": code, "message": meaning, "request_id": "5f0c6b1e9d3a47f2", "error": meaning}
    content.setdefault("examples", {})[code] = {"value": example}
