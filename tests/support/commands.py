"""The command line in this process."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Printed:
    """What a command left: exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        """JSON Lines on stdout."""
        return [json.loads(line) for line in self.out.rstrip().split("\n")]


class Terminal(io.StringIO):
    """A stream that a person watches."""

    def isatty(self) -> bool:
        return True


def run_cli(*words: object) -> Printed:
    """Run ``sentiment WORDS``; what child processes print is not seen."""
    from sentiment.cli import main

    # As a real standard output: text over bytes.
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", newline=""), io.StringIO()
    argv, sys.argv = sys.argv, ["sentiment", *map(str, words)]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as stop,
        ):
            main()
    finally:
        sys.argv = argv
    out.seek(0)
    code = stop.value.code
    return Printed(code if isinstance(code, int) else 0, out.read(), err.getvalue())
