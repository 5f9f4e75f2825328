"""Many files through a model on many machines: one part of the output for each file."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from sentiment.batch import Summary, score_file
from sentiment.errors import Parameter, UsageError
from sentiment.files import whole_folder
from sentiment.records import places
from sentiment.records.dialect import Dialect
from sentiment.records.documents import by_class
from sentiment.records.formats import check_readable, find_format
from sentiment.records.places import Place
from sentiment.records.reader import Reader
from sentiment.records.suffixes import Format
from sentiment.scorer import Scorer
from sentiment.text.engine import Engine

DONE = "_SUCCESS"
"""Stands in a folder of parts when all are there, as Hadoop's and Spark's writers leave it."""

_PART = re.compile(r"part-\d{5,}\.\w+")


@contextmanager
def nothing_begun(output: str) -> Iterator[None]:
    """Remove the parts that were only begun, where the body fails: no run with an engine goes on with them.

    Parameters
    ----------
    output : str
        A folder on this machine; what goes to an address is written aside until it is whole.
    """
    try:
        yield
    except BaseException:
        if not places.is_remote(output):
            for pattern in ("part-*.partial", "part-*.partial.json", ".part-*.whole"):
                for file in Path(output).glob(pattern):
                    file.unlink(missing_ok=True)
        raise


class _Part(NamedTuple):
    place: Place
    kind: Format
    target: str
    output_format: Format


class PlannedParts(NamedTuple):
    """Which file becomes which part: what can be refused is refused before an engine is asked for.

    Attributes
    ----------
    output : str
        A folder or an address.
    parts : tuple
    earlier : tuple of str
        Names of what is removed there: the mark of success, and parts that these do not replace.
    text_column : str
    dialect : Dialect or None
    """

    output: str
    parts: tuple[_Part, ...]
    earlier: tuple[str, ...]
    text_column: str
    dialect: Dialect | None


def plan_parts(
    where: str,
    output: str,
    *,
    kind: str | None = None,
    output_format: str | None = None,
    text_column: str = "text",
    dialect: Dialect | None = None,
    force: bool = False,
) -> PlannedParts:
    """Find the files of an input, each of which becomes a part: ``part-00000.parquet`` and so on.

    Nothing is written yet. The first file's first rows are read, so that a column or an encoding that is
    wrong everywhere is said at once.

    Parameters
    ----------
    where : str
        As for `sentiment.records.places.find`.
    output : str
        A folder or an address; it holds `DONE` when all parts are there.
    kind, output_format, text_column, dialect
        As for `open_rows` and `score_file`.
    force : bool
        Replace the parts that are there.

    Raises
    ------
    UsageError
        The output holds parts, or is a single file.
    DataError
        There is no such file, or the first cannot be read.
    """
    if where == "-":
        raise UsageError("an engine reads files, not standard input: split it into several")
    output = output.rstrip("/") or output
    there = _names_in(output)
    if not force and DONE in there:
        raise UsageError(f"{output}: holds parts already; ", Parameter("force"), " replaces them")
    found = places.find(where, any_name=kind is not None)
    if not found:
        raise UsageError(Parameter("input", where), ": names no file")
    if kind is None and by_class(found):
        raise UsageError(
            f"{where}: holds class folders, whose files are a text each, and an engine writes a part for "
            "each file: leave out ",
            Parameter("engine"),
            ", or for texts that are lines give ",
            Parameter("format", "lines"),
        )
    at = output if places.is_remote(output) else str(Path(output).resolve())
    parts = []
    for number, place in enumerate(map(_readable, found)):
        if place.path.rpartition("/")[0] == at:
            raise UsageError(f"{output}: holds the input {place.path}; write to another folder")
        if kind is None:
            check_readable(place.path)
        read_as = find_format(place.path, kind)
        write_as = find_format("-", output_format, otherwise=read_as)
        name = f"part-{number:05}.{'txt' if write_as == 'lines' else write_as}"
        parts.append(_Part(place, read_as, f"{at}/{name}", write_as))
        there.discard(name)
    others = sorted(name for name in there if _PART.fullmatch(name))
    if others and not force:
        raise UsageError(
            f"{output}: holds {others[0]}, which no file of {where} becomes; ", Parameter("force"),
            " removes it",
        )  # fmt: skip
    plan = PlannedParts(at, tuple(parts), (DONE, *others) if force else (), text_column, dialect)
    with _reader(parts[0], plan, batch_size=8) as reader:
        next(iter(reader), None)
    return plan


def score_parts(
    scorer: Path,
    digest: str,
    plan: PlannedParts,
    engine: Engine,
    *,
    min_confidence: float | None = None,
    top: int | None = None,
    batch_size: int = 512,
) -> Summary:
    """Score every file of a plan into its part.

    Each part holds what `sentiment.batch.score_file` writes for its file, and appears whole. A part
    whose machine dies is made again by another. All machines see input and output: folders of a
    shared file system, or addresses.

    Parameters
    ----------
    scorer : Path
        Directory of the model; its files are sent to each machine.
    digest : str
    plan : PlannedParts
    engine : Engine
    min_confidence, top, batch_size
        As for `score_file`.

    Raises
    ------
    DataError
        A row of a file cannot be read.
    """
    begin = time.perf_counter()
    output = plan.output
    if not places.is_remote(output):
        Path(output).mkdir(parents=True, exist_ok=True)
    for name in plan.earlier:  # who reads the folder would take them for these
        places.remove(f"{output}/{name}")
    content = {file.name: file.read_bytes() for file in sorted(scorer.iterdir()) if file.is_file()}
    summaries = list(
        engine.map(
            _score_part, plan.parts, model=content, digest=digest, plan=plan._replace(parts=()),
            min_confidence=min_confidence, top=top, batch_size=batch_size,
        )
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="sentiment-") as scratch:
        done = Path(scratch) / DONE
        done.touch()
        if places.is_remote(output):
            places.upload(done, f"{output}/{DONE}")
        else:
            (Path(output) / DONE).touch()
    return Summary(
        n_rows=sum(part.n_rows for part in summaries),
        n_null=sum(part.n_null for part in summaries),
        n_abstained=sum(part.n_abstained for part in summaries),
        n_unknown=sum(part.n_unknown for part in summaries),
        n_resumed=0,
        seconds=time.perf_counter() - begin,
    )


def _names_in(output: str) -> set[str]:
    """Return what lies in a folder or at an address that parts can be written to."""
    if output == "-":
        raise UsageError(
            "an engine writes one part for each file: give ", Parameter("output", "FOLDER")
        )
    if places.is_remote(output):
        places.check_writable(output)
    else:
        path = Path(output).absolute()
        above = next(place for place in (path, *path.parents) if place.exists())
        if not above.is_dir():
            raise UsageError(f"{above}: is a file; an engine writes a folder of parts")
        if not os.access(above, os.W_OK):
            raise UsageError(f"{output}: cannot be written ({os.strerror(errno.EACCES)})")
    return set(places.names_in(output))


def _readable(place: Place) -> Place:
    """Return a place as other machines find it; what lies on this one is there, and is no pipe."""
    if places.is_remote(place.path):
        return place
    places.check_file(place.path)
    places.open_read(place.path)[0].close()
    return replace(place, path=str(Path(place.path).resolve()))


def _reader(part: _Part, plan: PlannedParts, batch_size: int) -> Reader:
    return Reader(
        part.place.path,
        part.kind,
        text_column=plan.text_column,
        batch_size=batch_size,
        dialect=plan.dialect,
        columns=part.place.columns,
    )


def _score_part(
    part: _Part,
    *,
    model: dict[str, bytes],
    digest: str,
    plan: PlannedParts,
    min_confidence: float | None,
    top: int | None,
    batch_size: int,
) -> Summary:
    scorer = Scorer.load(_unpacked(digest, tuple(model.items())), digest=digest)
    return score_file(
        scorer,
        _reader(part, plan, batch_size),
        part.target,
        part.output_format,
        min_confidence=min_confidence,
        top=top,
        force=True,
        workers=1,
    )


@cache
def _unpacked(digest: str, files: tuple[tuple[str, bytes], ...]) -> Path:
    """Return the model's directory on this machine, which its processes share."""
    folder = Path(tempfile.gettempdir()) / "sentiment-models" / digest
    if not folder.is_dir():
        with whole_folder(folder) as beside:
            for name, content in files:
                (beside / name).write_bytes(content)
    return folder
