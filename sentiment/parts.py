"""Many files through a model on many machines: one part of the output for each file."""

from __future__ import annotations

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
from sentiment.records.formats import find_format
from sentiment.records.places import Place
from sentiment.records.reader import Reader
from sentiment.records.suffixes import Format
from sentiment.scorer import Scorer
from sentiment.text.engine import Engine

DONE = "_SUCCESS"
"""Stands in a folder of parts when all are there, as Hadoop's and Spark's writers leave it."""


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


def score_parts(
    scorer: Path,
    digest: str,
    where: str,
    output: str,
    engine: Engine,
    *,
    kind: str | None = None,
    output_format: str | None = None,
    text_column: str = "text",
    min_confidence: float | None = None,
    top: int | None = None,
    batch_size: int = 512,
    dialect: Dialect | None = None,
    force: bool = False,
) -> Summary:
    """Score every file of an input, each into a part of its own: ``part-00000.parquet`` and so on.

    Each part holds what `sentiment.batch.score_file` writes for its file, and appears whole. A part
    whose machine dies is made again by another. All machines see input and output: folders of a
    shared file system, or addresses.

    Parameters
    ----------
    scorer : Path
        Directory of the model; its files are sent to each machine.
    digest : str
    where : str
        As for `sentiment.records.places.find`.
    output : str
        A folder or an address; it holds `DONE` when all parts are there.
    engine : Engine
    kind, output_format, text_column, min_confidence, top, batch_size, dialect
        As for `open_rows` and `score_file`.
    force : bool
        Replace the parts that are there.

    Raises
    ------
    UsageError
        The output holds parts, or is a single file.
    DataError
        A row of a file cannot be read.
    """
    begin = time.perf_counter()
    if output == "-":
        raise UsageError(
            "an engine writes one part for each file: give ", Parameter("output", "FOLDER")
        )
    if where == "-":
        raise UsageError("an engine reads files, not standard input: split it into several")
    output = output.rstrip("/")
    if places.is_remote(output):
        places.check_writable(output)
    elif Path(output).is_file():
        raise UsageError(f"{output}: is a file; an engine writes a folder of parts")
    if not force and places.exists(f"{output}/{DONE}"):
        raise UsageError(f"{output}: holds parts already; ", Parameter("force"), " replaces them")
    found = places.find(where, any_name=kind is not None)
    if kind is None and by_class(found):
        raise UsageError(
            f"{where}: holds class folders, whose files are a text each, and an engine writes a part for "
            "each file: leave out ",
            Parameter("engine"),
            ", or for texts that are lines give ",
            Parameter("format", "lines"),
        )
    if not places.is_remote(output):
        Path(output).mkdir(parents=True, exist_ok=True)
        output = str(Path(output).resolve())
        (Path(output) / DONE).unlink(missing_ok=True)
    parts = []
    for number, place in enumerate(found):
        read_as = find_format(place.path, kind)
        write_as = find_format("-", output_format, otherwise=read_as)
        at = (
            place
            if places.is_remote(place.path)
            else replace(place, path=str(Path(place.path).resolve()))
        )
        parts.append(_Part(at, read_as, f"{output}/part-{number:05}.{_suffix(write_as)}"))
    content = {file.name: file.read_bytes() for file in sorted(scorer.iterdir()) if file.is_file()}
    summaries = list(
        engine.map(
            _score_part, parts, model=content, digest=digest, output_format=output_format,
            text_column=text_column, min_confidence=min_confidence, top=top, batch_size=batch_size,
            dialect=dialect,
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


def _suffix(kind: Format) -> str:
    return "txt" if kind == "lines" else kind


def _score_part(
    part: _Part,
    *,
    model: dict[str, bytes],
    digest: str,
    output_format: str | None,
    text_column: str,
    min_confidence: float | None,
    top: int | None,
    batch_size: int,
    dialect: Dialect | None,
) -> Summary:
    scorer = Scorer.load(_unpacked(digest, tuple(model.items())), digest=digest)
    reader = Reader(
        part.place.path,
        part.kind,
        text_column=text_column,
        batch_size=batch_size,
        dialect=dialect,
        columns=part.place.columns,
    )
    return score_file(
        scorer,
        reader,
        part.target,
        find_format(part.target, output_format),
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
