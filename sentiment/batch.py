"""Files and streams through a scorer: one row out per row in, in order, in bounded memory."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sentiment.answering import score_texts
from sentiment.errors import Parameter, SentimentError, UsageError
from sentiment.files import write_whole, writing
from sentiment.parent import end_with_parent
from sentiment.records import places
from sentiment.records.answers import Answers, Note
from sentiment.records.batch import Batch
from sentiment.records.formats import COMPRESSIONS, READ_ALONE, Format
from sentiment.records.resuming import complete_rows, grown_by_rows, identity, is_file
from sentiment.records.rows import Rows
from sentiment.records.writer import Writer, to_parquet
from sentiment.scorer import Scorer
from sentiment.text.corpus import thread_count

BATCH_SIZE = 512
# A process costs as much as scoring a few thousand short texts.
_BYTES_WORTH_PROCESSES = 2 << 20

Progress = Callable[[int, float | None], None]


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of a file.

    Attributes
    ----------
    n_rows, n_null, n_abstained, n_unknown : int
        Rows written in all, and of these in this run: rows without text, labels withheld, and
        texts of which the model knows no word.
    n_resumed : int
        Rows that an interrupted run had written before.
    seconds : float
        Time of this run.
    """

    n_rows: int
    n_null: int
    n_abstained: int
    n_unknown: int
    n_resumed: int
    seconds: float


def score_file(
    scorer: Scorer,
    reader: Rows,
    output: str,
    output_format: Format,
    *,
    min_confidence: float | None = None,
    top: int | None = None,
    resume: bool = False,
    force: bool = False,
    workers: int | None = None,
    line_buffered: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Score every row of a file into another.

    The output grows in ``<output>.partial`` and takes its name when it is complete. When the run
    is cut off, a line-based one stays there, to be gone on with by `resume`.

    Parameters
    ----------
    scorer : Scorer
        Loaded from a directory.
    reader : Reader or Several
    output : str
        A file, an address, or ``-`` for standard output. For an address the rows are written on this
        machine first: the store shows all of them or nothing.
    output_format : str
    min_confidence : float, optional
        Below it the label is withheld; by default as the model's decision says.
    top : int, optional
        Write only the probabilities of so many labels, the likeliest first; 0 for none.
    resume : bool
        Go on with what an interrupted run of the same input and model left.
    force : bool
        Replace an existing output.
    workers : int, optional
        Processes; by default one per core when the file is worth it.
    line_buffered : bool
        Write every batch out at once.
    progress : callable, optional
        Told the rows done and the share of the input read, after every batch.

    Raises
    ------
    UsageError
        The output exists, cannot be written, or cannot be resumed.
    DataError
        A row cannot be read; names file and row.
    """
    begin = time.perf_counter()
    min_confidence = scorer.decision.least(min_confidence)
    counts = dict.fromkeys(Note, 0)
    try:
        asked = {"top": top, "min_confidence": min_confidence}
        target = _Target(scorer, reader, output, output_format, asked, resume=resume, force=force)
    except BaseException:
        reader.close()
        raise
    n_rows = target.n_resumed
    writer = Writer(
        target.stream,
        output_format,
        scorer.labels,
        withholds=min_confidence > 0.0,
        top=top,
        header=not target.n_resumed,
        schema=getattr(reader, "schema", None),
    )
    try:
        if target.n_resumed:
            writer.go_on(target.place)
        n_workers = _workers(reader, workers)
        with writing(target.place), _Scoring(scorer, n_workers, min_confidence) as scoring:
            for batch, answers in scoring.run(_skip(reader, target.n_resumed)):
                writer.write(batch, answers)
                n_rows += len(answers.labels)
                for note in Note:
                    counts[note] += answers.notes.count(note)
                if line_buffered:
                    target.stream.flush()
                if progress is not None:
                    progress(n_rows, reader.fraction())
        if not target.n_resumed:
            writer.begin(reader.columns or ["text"])
        with writing(target.place):
            writer.close()
            target.close()
    except BaseException:
        with contextlib.suppress(Exception):
            writer.close()  # or it would try when it is collected, without a file
        target.leave()
        raise
    finally:
        reader.close()
    target.finish()
    return Summary(
        n_rows=n_rows,
        n_null=counts[Note.NO_TEXT],
        n_abstained=counts[Note.ABSTAINED],
        n_unknown=counts[Note.NO_KNOWN_WORD],
        n_resumed=target.n_resumed,
        seconds=time.perf_counter() - begin,
    )


def _skip(reader: Rows, n: int) -> Iterator[Batch]:
    for batch in reader:
        if n >= len(batch):
            n -= len(batch)
            continue
        yield batch.skip(n) if n else batch
        n = 0
    if n:
        raise UsageError(
            f"{reader.path}: has fewer rows than the interrupted output: it is another file; "
            "start again with ",
            Parameter("force"),
        )


def _workers(reader: Rows, workers: int | None) -> int:
    if workers is not None:
        return workers
    if reader.path == "-" or reader.size < _BYTES_WORTH_PROCESSES:
        return 1
    return thread_count()


_worker_scorer: Scorer | None = None


def _start_worker(scorer: Scorer, parent: int) -> None:
    global _worker_scorer  # noqa: PLW0603 - what a worker process is made for
    _worker_scorer = scorer
    end_with_parent(parent)
    # Ctrl-C reaches the whole group; the parent alone decides what to do about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(texts: list[str | None], min_confidence: float) -> Answers:
    assert _worker_scorer is not None
    return score_texts(_worker_scorer, texts, min_confidence)


class _Scoring:
    """Scores batches here or in worker processes; answers come in the order of the batches."""

    def __init__(self, scorer: Scorer, workers: int, min_confidence: float) -> None:
        self._scorer = scorer
        self._min_confidence = min_confidence
        self._workers = workers
        self._pool: ProcessPoolExecutor | None = None
        if workers > 1:
            # A forked worker shares the loaded model; elsewhere it maps the same file.
            method = "fork" if sys.platform == "linux" else "spawn"
            self._pool = ProcessPoolExecutor(
                workers,
                multiprocessing.get_context(method),
                initializer=_start_worker,
                initargs=(scorer, os.getpid()),
            )

    def __enter__(self) -> _Scoring:
        if self._pool is not None:
            with warnings.catch_warnings():
                # Only numpy's idle threads run here yet; a worker never meets them.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._pool.submit(_work, [], 0.0)  # forks now, before any reader has threads
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, Answers]]:
        """Yield each batch with its answers, a few batches ahead at most."""
        if self._pool is None:
            for batch in batches:
                yield batch, score_texts(self._scorer, batch.texts, self._min_confidence)
            return
        waiting: deque[tuple[Batch, Future[Answers]]] = deque()
        try:
            for batch in batches:
                waiting.append((batch, self._pool.submit(_work, batch.texts, self._min_confidence)))
                if len(waiting) > 2 * self._workers:
                    first, answers = waiting.popleft()
                    yield first, answers.result()
            while waiting:
                first, answers = waiting.popleft()
                yield first, answers.result()
        except BrokenProcessPool:
            raise SentimentError(
                "a worker process died (out of memory?): try ",
                Parameter("workers", "1"),
                " or a smaller ",
                Parameter("batch_size"),
            ) from None


class _Target:
    """The output: standard output, or a file that is written beside its place."""

    def __init__(
        self,
        scorer: Scorer,
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
        if output == "-":
            if resume:
                raise UsageError(
                    Parameter("resume"), " needs an output file: give ", Parameter("output", "FILE")
                )
            self.stream: IO[bytes] = sys.stdout.buffer
            return
        self._address: str | None = None
        if places.is_remote(output):
            places.check_writable(output)
            if resume:
                raise UsageError(
                    f"{output}: ", Parameter("resume"), " needs an output on this machine"
                )
            if not force and places.exists(output):
                raise UsageError(f"{output}: exists; ", Parameter("force"), " replaces it")
            self._address = output
            output = str(Path(tempfile.mkdtemp(prefix="sentiment-")) / places.plain_name(output))
        self._path = path = Path(output)
        self._partial = path.with_name(path.name + ".partial")
        self._notes = path.with_name(path.name + ".partial.json")
        compression = COMPRESSIONS.get(path.suffix.lower())
        if compression in READ_ALONE:
            raise UsageError(f"{output}: is read, but not written, so: use .gz, .bz2 or .zst")
        parquet = output_format == "parquet"
        self._whole = path.with_name(f".{path.name}.whole") if parquet else self._partial
        self._resumable = compression is None
        if any(
            Path(file).exists() and path.exists() and path.samefile(file) for file in reader.files
        ):
            raise UsageError(f"{output}: is the input; write to another file")
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
        notes = {
            "model": scorer.digest,
            "input": str(Path(reader.path).resolve()) if is_file(reader) else reader.path,
            "text_column": reader.text_column,
            "format": output_format,
            **asked,
        }
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
        self.stream = self._compress(compression)

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
            if before.get(key) != value:
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


class AlreadyCompleteError(UsageError):
    """There is nothing to resume: the output is there, and a run that is tried again has succeeded."""

    exit_code = 0
