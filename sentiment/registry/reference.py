"""How a model is addressed: ``models:/name@alias``, ``runs:/id`` and the rest."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sentiment.errors import UsageError

DEFAULT_NAME = "sentiment"


_REFERENCE = re.compile(
    r"runs:/+(?P<run>[^/@]+)(?:/model)?/?"
    r"|models:/+(?P<model>m-[0-9a-f]+)/?"
    r"|models:/+(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+|latest))"
)
_STAGE = re.compile(r"models:/+(?P<name>[^/@]+)/(?P<stage>production|staging|archived|none)", re.I)
_RESERVED = re.compile(r"latest|v?\d+", re.I)


@dataclass(frozen=True)
class ModelReference:
    """What ``runs:/…`` or ``models:/…`` names; one of run, model, alias and version is set.

    Attributes
    ----------
    version : str or None
        A number, or ``latest``: the newest.
    model : str or None
        The id of a logged model, as MLflow prints it.
    """

    text: str
    name: str = DEFAULT_NAME
    run: str | None = None
    alias: str | None = None
    version: str | None = None
    model: str | None = None


def parse(reference: str) -> ModelReference:
    """Read a remote reference.

    Raises
    ------
    UsageError
        If it is none.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        staged = _STAGE.fullmatch(reference)
        if staged:
            raise UsageError(
                f"{reference}: MLflow has no stages any more, aliases took their place: "
                f"models:/{staged['name']}@champion"
            )
        raise UsageError(
            f"cannot read the reference {reference!r}: give runs:/<run_id>, models:/<name>@<alias>, "
            "models:/<name>/<version> or models:/m-<id>"
        )
    parts = match.groupdict()
    return ModelReference(
        reference,
        parts["name"] or DEFAULT_NAME,
        parts["run"],
        parts["alias"],
        parts["version"],
        parts["model"],
    )


def version_named(reference: str, name: str = DEFAULT_NAME) -> tuple[str, str]:
    """Return the registered model, and the number or alias in it, that a reference names.

    Parameters
    ----------
    reference : str
        ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, or what stands for a version of ``name``: its
        number or alias alone.
    name : str

    Raises
    ------
    UsageError
        It names a run or a logged model, which is no version.
    """
    if ":/" not in reference:
        return name, reference
    parsed = parse(reference)
    which = parsed.alias or parsed.version
    if which is None:
        kind = "run" if parsed.run is not None else "logged model"
        raise UsageError(f"{reference} is a {kind}, not a version: sentiment compare shows runs")
    return parsed.name, which


def check_name(name: str) -> None:
    """Refuse a name that MLflow would refuse after the work.

    Raises
    ------
    UsageError
        It is empty, or holds a slash or a colon.
    """
    if not name.strip() or any(character in name for character in "/:"):
        raise UsageError(
            f"a registered model cannot be called {name!r}: no slash, no colon, not empty"
        )


def check_alias(alias: str) -> None:
    """Refuse an alias that means something else already.

    Raises
    ------
    UsageError
        It is MLflow's own, looks like a version, or differs from ``champion`` by case alone.
    """
    if _RESERVED.fullmatch(alias):
        raise UsageError(f"the alias {alias!r} means a version to MLflow: choose another word")
    if alias != "champion" and alias.casefold() == "champion":
        raise UsageError(f"the alias {alias!r} would stand beside 'champion': choose another word")
    if not re.fullmatch(r"[\w.-]+", alias):
        raise UsageError(f"the alias {alias!r} may hold letters, digits, '_', '.' and '-' alone")
