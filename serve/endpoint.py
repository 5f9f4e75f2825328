"""A route as data: what answers it, and what the documentation says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pydantic import BaseModel

from serve.exchange import Exchange
from serve.reply import Reply

Call = Callable[[Exchange], Awaitable[Reply]]


class Endpoint(NamedTuple):
    """A route.

    Attributes
    ----------
    method, path : str
        The path may have parameters.
    call : callable
        What answers; its docstring is the route's description. It reads the body itself,
        validates the bytes with pydantic-core in one step, and returns bytes.
    request, response : model
        What the documentation says goes in and out. With a request the worker's concurrency
        limit applies.
    errors : sequence of str
        The codes that this route can answer with, beside those that every route can.
    open : bool
        Whether it answers without an API key.
    documentation : mapping
        ``summary``, ``tags``, ``responses`` and the like, for FastAPI.
    """

    method: str
    path: str
    call: Call
    request: type[BaseModel] | None = None
    response: Any = None
    errors: tuple[str, ...] = ()
    open: bool = False
    documentation: Mapping[str, Any] = MappingProxyType({})
