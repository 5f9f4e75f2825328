"""Models on this machine: ``<output_dir>/models/<digest>/{scorer/,info.json}`` and pointers.

A stored model is never modified. ``latest.json``, ``champion.json`` and one file in ``aliases/`` for
each other alias name models and are replaced by rename, so a reader sees the old pointer or the
new one. Needs no MLflow.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from sentiment.errors import ModelError, ModelNotFoundError, UsageError, nearest
from sentiment.files import whole_folder, write_whole

POINTERS = ("latest", "champion")
SCORER = "scorer"
INFO = "info.json"
"""What lies in a model's folder: what answers, and what is known of it."""

_ALIAS = re.compile(r"\w[\w.-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DIGEST_PREFIX = re.compile(r"[0-9a-f]{6,64}")
_REMOTE = re.compile(r"(runs|models|mlflow-artifacts):/")


class Compiled(Protocol):
    """What is stored: a scorer that can write itself."""

    digest: str

    def save(self, directory: Path | str) -> str:
        """Write the scorer directory and return the digest."""
        ...


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model on this machine.

    Attributes
    ----------
    digest : str
        SHA-256 of its ``scorer.json``.
    path : Path
        The scorer directory.
    reference : str
        How it was asked for.
    info : dict
        Run id, time, metrics and data, as far as known.
    name, version, run_id : str or None
        Registered name and version, and the run that made it.
    """

    digest: str
    path: Path
    reference: str
    info: dict[str, Any] = field(default_factory=dict)
    name: str | None = None
    version: str | None = None
    run_id: str | None = None

    def __str__(self) -> str:
        named = f"{self.name} version {self.version}, " if self.name and self.version else ""
        return f"{self.reference} ({named}{self.digest[:12]})"


def is_remote(reference: str) -> bool:
    """Tell whether a reference leads to MLflow (``runs:/…``, ``models:/…``)."""
    return _REMOTE.match(reference) is not None


def pointer_of(reference: str) -> str:
    """Return the alias by which a remote reference (``models:/NAME@ALIAS``, …) is served in the shadow."""
    _, at, alias = reference.rpartition("@")
    return alias if at and alias not in POINTERS else "challenger"


def models_dir(output_dir: Path | str) -> Path:
    """Return the directory that holds the stored models."""
    return Path(output_dir) / "models"


def is_stored(digest: str, output_dir: Path | str) -> bool:
    """Return whether the model of this whole digest lies here."""
    return (models_dir(output_dir) / digest / SCORER).is_dir()


def save_model(compiled: Compiled, info: Mapping[str, Any], output_dir: Path | str) -> StoredModel:
    """Store a compiled model with what is known about it.

    A model that is stored already stays as it is, ``info.json`` included.

    Parameters
    ----------
    compiled : Compiled
        See `sentiment.compiler`.
    info : mapping
        JSON values: run id, metrics, data. ``created`` is added.
    output_dir : Path
    """
    target = models_dir(output_dir) / compiled.digest
    if not is_stored(compiled.digest, output_dir):
        with whole_folder(target) as beside:
            compiled.save(beside / SCORER)
            _write_json(beside / INFO, {"created": _now(), **info})
    return _stored(target, compiled.digest)


def import_model(
    scorer_dir: Path | str, info: Mapping[str, Any], output_dir: Path | str, digest: str
) -> StoredModel:
    """Copy a scorer directory from elsewhere into the store, verified.

    Parameters
    ----------
    scorer_dir : Path
        Fetched from MLflow or another machine.
    info : mapping
        JSON values.
    output_dir : Path
    digest : str
        What the model's digest must be.

    Raises
    ------
    ModelError
        It is not that model, or it is not whole.
    """
    from sentiment.scorer.document import DOCUMENT_NAME, read_document, weights_name
    from sentiment.scorer.model import Scorer

    target = models_dir(output_dir) / digest
    if not is_stored(digest, output_dir):
        with whole_folder(target) as beside:
            (beside / SCORER).mkdir()
            _, document = read_document(Path(scorer_dir))
            for name in (DOCUMENT_NAME, weights_name(document)):
                try:
                    shutil.copyfile(Path(scorer_dir) / name, beside / SCORER / name)
                except OSError as error:
                    raise ModelError(
                        f"{scorer_dir}: not a scorer directory: "
                        f"{name} cannot be read ({error.strerror})"
                    ) from None
            # Verify the copy: what was read is what will be served.
            Scorer.load(beside / SCORER, digest=digest)
            _write_json(beside / INFO, {"created": _now(), **info})
    return _stored(target, digest)


def set_pointer(
    output_dir: Path | str,
    which: str,
    digest: str,
    *,
    name: str | None = None,
    version: str | int | None = None,
    run_id: str | None = None,
    source: str,
) -> dict[str, Any]:
    """Let a pointer name a stored model.

    Parameters
    ----------
    output_dir : Path
    which : str
        ``latest``, ``champion`` or another alias.
    digest : str
        The stored model.
    name, version, run_id : optional
        Registered name and version, and the run that made it.
    source : str
        Who moved the pointer: ``train``, ``promote``, ``pull`` …

    Returns
    -------
    dict
        The pointer as written.

    Raises
    ------
    ModelNotFoundError
        No such model is stored.
    """
    if not is_stored(digest, output_dir):
        raise ModelNotFoundError(f"no model {digest[:12]} is stored in {models_dir(output_dir)}")
    pointer = {
        "digest": digest,
        "name": name,
        "version": None if version is None else str(version),
        "run_id": run_id,
        "set_at": _now(),
        "source": source,
    }
    file = pointer_file(output_dir, which)
    file.parent.mkdir(exist_ok=True)
    _write_json(file, pointer)
    return pointer


def pointer_file(output_dir: Path | str, which: str) -> Path:
    """Return where a pointer lies: ``latest``, ``champion`` or another alias."""
    folder = models_dir(output_dir)
    return (folder if which in POINTERS else folder / "aliases") / f"{which}.json"


def pointer_names(output_dir: Path | str) -> list[str]:
    """Return the pointers that there may be: `POINTERS`, and each alias that was set here."""
    aliases = sorted(path.stem for path in (models_dir(output_dir) / "aliases").glob("*.json"))
    return [*POINTERS, *aliases]


def is_alias(reference: str) -> bool:
    """Tell whether a reference may be an alias: no path, no address, no digest."""
    return (
        _ALIAS.fullmatch(reference) is not None
        and _DIGEST_PREFIX.fullmatch(reference) is None
        and not Path(reference).is_dir()
    )


def read_pointer(output_dir: Path | str, which: str) -> dict[str, Any] | None:
    """Return a pointer's content, or None when it is not set.

    Raises
    ------
    ModelError
        The pointer is not readable JSON with a digest.
    """
    path = pointer_file(output_dir, which)
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        pointer = json.loads(raw)
    except (ValueError, RecursionError):
        pointer = None
    if not isinstance(pointer, dict) or not _DIGEST.fullmatch(str(pointer.get("digest"))):
        raise ModelError(f"{path}: not a pointer to a model; set it again or remove it")
    return {key: pointer.get(key) for key in _POINTER_KEYS}


_POINTER_KEYS = ("digest", "name", "version", "run_id", "set_at", "source")


@dataclass(frozen=True, slots=True)
class Sync:
    """How the process that follows a registry stands.

    Attributes
    ----------
    looked_at, answered_at : float
        When it last asked, and when the registry last answered, in Unix time; 0 is never.
    """

    looked_at: float
    answered_at: float


def note_sync(output_dir: Path | str, *, answered: bool) -> None:
    """Write down that a registry was asked just now, and whether it answered."""
    before = read_sync(output_dir)
    now = time.time()
    answered_at = now if answered else before.answered_at if before else 0.0
    _write_json(_sync_file(output_dir), {"looked_at": now, "answered_at": answered_at})


def read_sync(output_dir: Path | str) -> Sync | None:
    """Return what `note_sync` wrote last; None if nobody follows a registry here."""
    try:
        found = json.loads(_sync_file(output_dir).read_text(encoding="utf-8"))
        return Sync(float(found["looked_at"]), float(found["answered_at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sync_file(output_dir: Path | str) -> Path:
    return models_dir(output_dir) / "sync.json"


def resolve(reference: str | None, output_dir: Path | str) -> StoredModel:
    """Find the stored model that a reference names.

    Parameters
    ----------
    reference : str or None
        ``latest`` (also for None), ``champion`` or another alias that was set here, a digest or
        its first six characters and more, or a directory: a scorer directory or the one that
        holds ``scorer``.
    output_dir : Path

    Raises
    ------
    ModelNotFoundError
        Nothing answers to it; the message says what would.
    """
    reference = reference or "latest"
    if is_remote(reference):
        raise UsageError(f"{reference}: fetch it first: sentiment models pull {reference}")
    if reference in POINTERS:
        return _follow(reference, output_dir)
    directory = Path(reference)
    for candidate in (directory, directory / SCORER):
        if (candidate / "scorer.json").is_file():
            return _from_directory(candidate, reference)
    if _DIGEST_PREFIX.fullmatch(reference):
        return _by_digest(reference, output_dir)
    if is_alias(reference) and pointer_file(output_dir, reference).is_file():
        return _follow(reference, output_dir)
    if directory.exists():
        raise ModelNotFoundError(f"{reference}: not a scorer directory: it holds no scorer.json")
    scheme, address, _ = reference.partition("://")
    shown = f"{scheme}://…" if address else reference  # an address may hold a password
    raise ModelNotFoundError(
        f"no model {shown!r}: give a scorer directory, latest, champion, a digest, "
        f"runs:/<run_id> or models:/<name>@<alias>{nearest(reference, pointer_names(output_dir))}"
    )


def labels_of(digest: str, output_dir: Path | str) -> tuple[str, ...]:
    """Return the labels of a model, in its order, without loading it.

    Parameters
    ----------
    digest : str
        Or its beginning.
    output_dir : Path or str

    Raises
    ------
    ModelError
        There is no such model here, or it is damaged.
    """
    from sentiment.scorer.document import read_document

    _, document = read_document(_by_digest(digest, output_dir).path)
    return tuple(map(str, document["labels"]))


def list_models(output_dir: Path | str) -> list[StoredModel]:
    """Return every stored model, by digest."""
    found = sorted(
        path
        for path in models_dir(output_dir).glob("*/scorer")
        if _DIGEST.fullmatch(path.parent.name)
    )
    return [_stored(path.parent, path.parent.name) for path in found]


def _follow(which: str, output_dir: Path | str) -> StoredModel:
    pointer = read_pointer(output_dir, which)
    if pointer is None:
        fix = (
            "train one: sentiment train"
            if which == "latest"
            else "promote one: sentiment models promote"
        )
        raise ModelNotFoundError(f"no {which} model in {models_dir(output_dir)}: {fix}")
    digest = pointer["digest"]
    target = models_dir(output_dir) / digest
    if not is_stored(digest, output_dir):
        raise ModelNotFoundError(
            f"{which} names the model {digest[:12]}, which is not in {models_dir(output_dir)}"
        )
    stored = _stored(target, digest, which)
    return StoredModel(
        digest,
        stored.path,
        which,
        stored.info,
        pointer["name"] or stored.name,
        pointer["version"] or stored.version,
        pointer["run_id"] or stored.run_id,
    )


def _by_digest(prefix: str, output_dir: Path | str) -> StoredModel:
    matches = [model for model in list_models(output_dir) if model.digest.startswith(prefix)]
    if len(matches) == 1:
        return _stored(matches[0].path.parent, matches[0].digest, prefix)
    if matches:
        raise ModelNotFoundError(f"{len(matches)} models begin with {prefix!r}: give more of it")
    raise ModelNotFoundError(f"no model {prefix!r} in {models_dir(output_dir)}")


def _from_directory(path: Path, reference: str) -> StoredModel:
    """Take a directory as it is; inside a store its name says what its digest must be."""
    from sentiment.scorer.document import read_document

    parent = path.resolve().parent
    if path.name == SCORER and _DIGEST.fullmatch(parent.name):
        return _stored(parent, parent.name, reference)
    digest, _ = read_document(path)
    return StoredModel(digest, path, reference)


def _stored(target: Path, digest: str, reference: str | None = None) -> StoredModel:
    try:
        info = json.loads((target / INFO).read_bytes())
    except (OSError, ValueError, RecursionError):
        info = {}  # what is known about a model is not needed to use it
    info = info if isinstance(info, dict) else {}
    texts = [info.get(key) for key in ("name", "version", "run_id")]
    name, version, run_id = (None if text is None else str(text) for text in texts)
    return StoredModel(digest, target / SCORER, reference or digest, info, name, version, run_id)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
