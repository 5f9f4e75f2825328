"""Where answers go: a file that is written whole, or goes on where an interrupted run ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from sentiment.errors import Parameter, SentimentError, UsageError
from sentiment.files import check_no_input, is_pipe, write_whole
from sentiment.records import places
from sentiment.records.resuming import complete_rows, grown_by_rows, identity, is_file
from sentiment.records.rows import Rows
from sentiment.records.suffixes import COMPRESSIONS, READ_ALONE, Format
from sentiment.records.writer import to_parquet


class AlreadyCompleteError(UsageError):
    """There is nothing to resume: the output is there, and a run that is tried again has succeeded."""

    exit_code = 0


def partial_of(output: str) -> Path:
    """Return where an output is written until it is whole, and where an interrupted run leaves it."""
    return Path(output).with_name(Path(output).name + ".partial")


class Target:
    """The output: standard output, or a file that is written beside its place.

    Parameters
    ----------
    model : str
        Whose answers they are: none goes on with those of another.
    reader : Rows
        Of the rows that are answered.
    output, output_format : str
    asked : mapping
        What else decides the rows' answers.
    resume, force : bool
        See `sentiment.batch.score_file`.

    Raises
    ------
    UsageError
        It exists, cannot be written, or cannot be gone on with.
    """

    def __init__(
        self,
        model: str,
        reader: Rows,
        output: str,
        output_format: Format,
        asked: Mapping[str, float | None],
        *,
        resume: bool,
        force: bool,
    ) -> None:
        self.n_resumed = 0
        self._path: Path | None = None
        self._compressor: Any = None
        if output == "-" or (not places.is_remote(output) and is_pipe(output)):
            self.stream = _flowing(output, output_format, resume=resume)
            return
        self._address: str | None = None
        if places.is_remote(output):
            _check_address(output, resume=resume, force=force)
            self._address = output
            output = str(Path(tempfile.mkdtemp(prefix="sentiment-")) / places.plain_name(output))
        self._path = path = Path(output)
        self._partial = partial_of(output)
        self._notes = path.with_name(path.name + ".partial.json")
        compression = COMPRESSIONS.get(path.suffix.lower())
        if compression in READ_ALONE:
            raise UsageError(f"{output}: is read, but not written, so: use .gz, .bz2 or .zst")
        parquet = output_format == "parquet"
        self._whole = path.with_name(f".{path.name}.whole") if parquet else self._partial
        self._resumable = compression is None
        check_no_input(path, reader.files)
        self._check_place(path, output, resume=resume, force=force)
        self._begin(
            {
                "model": model,
                "input": str(Path(reader.path).resolve()) if is_file(reader) else reader.path,
                "text_column": reader.text_column,
                "input_format": reader.kind,
                **asdict(reader.dialect),
                "format": output_format,
                **asked,
            },
            reader,
            output,
            output_format,
            resume=resume,
        )
        self.stream = self._compress(compression)

    def _check_place(self, path: Path, output: str, *, resume: bool, force: bool) -> None:
        if path.is_dir():
            raise UsageError(f"{output}: is a directory; give a file")
        if resume and path.exists() and not self._partial.exists():
            raise AlreadyCompleteError(f"{output}: is complete: there is nothing to resume")
        if path.exists() and not force:
            raise UsageError(f"{output}: exists; ", Parameter("force"), " replaces it")
        if resume and not self._resumable:
            raise UsageError(
                f"{output}: ",
                Parameter("resume"),
                " needs an uncompressed output (.csv, .tsv, .jsonl, .txt, .parquet)",
            )

    def _begin(
        self,
        notes: dict[str, Any],
        reader: Rows,
        output: str,
        output_format: Format,
        *,
        resume: bool,
    ) -> None:
        """Open the file for this process alone, at its end where it goes on; note what it is made of."""
        ours = False
        try:
            # Not emptied before it is ours alone.
            self._file: IO[bytes] = os.fdopen(
                os.open(self._partial, os.O_WRONLY | os.O_CREAT, 0o666), "wb"
            )
            _hold(self._file, self._partial, output)
            ours = True
            if resume and self._notes.exists():
                self._check_notes(notes, reader)
                self.n_resumed = complete_rows(self._partial, output_format)
                self._file.seek(0, os.SEEK_END)
            if not self.n_resumed:
                self._file.truncate(0)
            if self._resumable:
                # Resumed, too: rows that were added since are now rows that may not change.
                content = {**notes, **identity(reader)}
                write_whole(self._notes, json.dumps(content))
        except OSError as error:
            if ours:
                self.leave()
            raise UsageError(f"{output}: cannot be written ({error.strerror})") from error

    def _compress(self, compression: str | None) -> IO[bytes]:
        if compression == "gzip":
            import gzip

            # Neither name nor time go into the file: same rows, same bytes.
            self._compressor = gzip.GzipFile(
                fileobj=self._file, mode="wb", compresslevel=6, mtime=0, filename=""
            )
        elif compression == "bz2":
            import bz2

            self._compressor = bz2.BZ2File(self._file, "wb")
        elif compression == "zstd":
            import pyarrow as pa

            self._compressor = pa.CompressedOutputStream(pa.PythonFile(self._file), "zstd")
        return self._file if self._compressor is None else self._compressor

    def _check_notes(self, notes: Mapping[str, Any], reader: Rows) -> None:
        try:
            before = json.loads(self._notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = {}
        for key, value in notes.items():
            # Notes of an older version say less.
            if before.get(key, value if before else None) != value:
                raise UsageError(
                    f"{self._partial}: was begun with another {key.replace('_', ' ')} "
                    f"({before.get(key)}); leave out ",
                    Parameter("resume"),
                    " to start again",
                )
        source = reader.path
        if source == "-" or before.get("hash") is None:
            return
        # Rows may have been added at the end; what was read must be what stands there.
        size = before.get("size")
        then = {"size": size, "hash": before.get("hash")}
        if identity(reader, size) != then or (
            size is not None and not grown_by_rows(source, int(size))
        ):
            raise UsageError(
                f"{source}: has changed since the interrupted run began (only rows at its end may be "
                "new); leave out ",
                Parameter("resume"),
                " to start again",
            )

    @property
    def place(self) -> Path:
        """The file that is written, for messages."""
        return Path("-") if self._path is None else self._partial

    def close(self) -> None:
        """Bring everything onto the disk."""
        self.stream.flush()
        if self._path is None:
            return
        if self._compressor is not None:
            self._compressor.close()
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        if self._whole != self._partial:
            to_parquet(self._partial, self._whole)

    def finish(self) -> None:
        """Give the complete output its name."""
        if self._path is None:
            return
        self._whole.replace(self._path)
        self._partial.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)
        if self._address is not None:
            try:
                places.upload(self._path, self._address)
            except SentimentError as error:
                # Hours of work are not thrown away because a store is down.
                raise SentimentError(f"{error}; the rows are kept in {self._path}") from error
            shutil.rmtree(self._path.parent, ignore_errors=True)

    def leave(self) -> None:
        """Keep what can be resumed, remove what cannot."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):  # what it still holds does not go onto a full disk
            self._file.close()
        if self._whole != self._partial:
            self._whole.unlink(missing_ok=True)
        if not self._resumable or not self._partial.stat().st_size:
            self._partial.unlink(missing_ok=True)
            self._notes.unlink(missing_ok=True)
        if self._address is not None:
            shutil.rmtree(self._path.parent, ignore_errors=True)


def _flowing(output: str, output_format: Format, *, resume: bool) -> IO[bytes]:
    """Return standard output, or a pipe or a device, which take rows as they come."""
    if output == "-":
        if resume:
            raise UsageError(
                Parameter("resume"), " needs an output file: give ", Parameter("output", "FILE")
            )
        return sys.stdout.buffer
    if resume or output_format == "parquet":
        raise UsageError(f"{output}: is a pipe or a device, which takes lines from the first on")
    return Path(output).open("wb")


def _check_address(output: str, *, resume: bool, force: bool) -> None:
    places.check_writable(output)
    if resume:
        raise UsageError(f"{output}: ", Parameter("resume"), " needs an output on this machine")
    if not force and places.exists(output):
        raise UsageError(f"{output}: exists; ", Parameter("force"), " replaces it")


def _hold(file: IO[bytes], partial: Path, output: str) -> None:
    """Take an output for this process alone, as long as it is open."""
    try:
        import fcntl
    except ImportError:  # not POSIX
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Between opening and taking, the other may have finished: then this is its output.
        ours = partial.exists() and os.path.samestat(os.fstat(file.fileno()), partial.stat())
    except BlockingIOError:
        ours = False
    if not ours:
        file.close()
        raise UsageError(f"{output}: another process is writing it: wait, or write elsewhere")
