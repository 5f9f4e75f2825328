"""How a model is addressed: ``models:/name@alias``, ``runs:/id`` and the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sentiment.errors import UsageError

if TYPE_CHECKING:
    pass


DEFAULT_NAME = "sentiment"


_REFERENCE = re.compile(
    r"runs:/+(?P<run>[^/@]+)(?:/model)?/?"
    r"|models:/+(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))"
)


@dataclass(frozen=True)
class ModelReference:
    """What ``runs:/…`` or ``models:/…`` names; exactly one of run, alias and version is set."""

    text: str
    name: str = DEFAULT_NAME
    run: str | None = None
    alias: str | None = None
    version: str | None = None


def parse(reference: str) -> ModelReference:
    """Read a remote reference.

    Raises
    ------
    UsageError
        If it is none.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise UsageError(
            f"cannot read the reference {reference!r}: give runs:/<run_id>, "
            "models:/<name>@<alias> or models:/<name>/<version>"
        )
    parts = match.groupdict()
    return ModelReference(
        reference, parts["name"] or DEFAULT_NAME, parts["run"], parts["alias"], parts["version"]
    )
