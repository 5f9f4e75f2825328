"""Ports, and waiting for what other processes do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import httpx


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], seconds: float = 120.0, what: str = "it") -> Any:
    """Return what the condition gives once it is true; a refused connection is not yet."""
    end = time.monotonic() + seconds
    found = None
    while time.monotonic() < end:
        try:
            found = condition()
        except httpx.TransportError:
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}; last: {found!r}")
