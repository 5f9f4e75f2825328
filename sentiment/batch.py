"""Files and streams through a scorer: one row out per row in, in order, in bounded memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from sentiment.answering import score_texts
from sentiment.errors import Parameter, SentimentError, UsageError
from sentiment.files import writing
from sentiment.parent import end_with_parent
from sentiment.records.answers import BatchAnswers, Note
from sentiment.records.batch import Batch
from sentiment.records.rows import Rows
from sentiment.records.suffixes import Format
from sentiment.records.target import Target
from sentiment.records.writer import Writer
from sentiment.scorer import Scorer
from sentiment.text.corpus import thread_count

# A process costs as much as scoring a few thousand short texts.
_BYTES_WORTH_PROCESSES = 2 << 20
_MOST_WORKERS = 256  # as of the service

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
        The output exists, cannot be written, or cannot be resumed; or there are too many workers.
    DataError
        A row cannot be read; names file and row.
    """
    begin = time.perf_counter()
    min_confidence = scorer.decision.least(min_confidence)
    counts = dict.fromkeys(Note, 0)
    try:
        n_workers = _workers(reader, workers)
        asked = {"top": top, "min_confidence": min_confidence}
        target = Target(
            scorer.digest, reader, output, output_format, asked, resume=resume, force=force
        )
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
        if workers > _MOST_WORKERS:
            raise UsageError(
                Parameter("workers", str(workers)),
                f": at most {_MOST_WORKERS} processes; more than the cores of this machine "
                f"({thread_count()}) make nothing faster",
            )
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


def _work(texts: list[str | None], min_confidence: float) -> BatchAnswers:
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

    def run(self, batches: Iterator[Batch]) -> Iterator[tuple[Batch, BatchAnswers]]:
        """Yield each batch with its answers, a few batches ahead at most."""
        if self._pool is None:
            for batch in batches:
                yield batch, score_texts(self._scorer, batch.texts, self._min_confidence)
            return
        waiting: deque[tuple[Batch, Future[BatchAnswers]]] = deque()
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
