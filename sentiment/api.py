"""What the commands do, as functions for notebooks and programs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.errors import UsageError

if TYPE_CHECKING:
    from sentiment.scorer import Scorer
    from sentiment.sweep.board import Board
    from sentiment.training.run import TrainResult

log = logging.getLogger(__name__)


def load(
    ref: str = "champion",
    *,
    output_dir: str | Path | None = None,
    progress: bool | None = None,
) -> Scorer:
    """Load a model.

    Parameters
    ----------
    ref : str
        ``champion``, ``latest``, a digest, a scorer directory, ``runs:/…`` or ``models:/…``.
    output_dir : path, optional
        Where models lie; by default what `compose` says, usually ``outputs``.
    progress : bool, optional
        Whether a prediction of many texts shows a bar; by default in a notebook or a terminal.

    Returns
    -------
    Scorer
        ``predict(texts)``, ``predict_proba(texts)``, ``explain(text)``, ``labels``.

    Raises
    ------
    ModelNotFoundError
        No model answers to the reference.
    ModelError
        It is damaged, altered or of a newer format.
    """
    from sentiment.progress import follow
    from sentiment.registry.lookup import find_model
    from sentiment.scorer import Scorer

    stored = find_model(ref, _output_dir(output_dir))
    scorer = Scorer.load(stored.path, digest=stored.digest)
    scorer.follow = partial(follow, progress)
    return scorer


def train(
    overrides: Sequence[str] | Mapping[str, Any] = (),
    data: Any = None,
    *,
    output_dir: str | Path | None = None,
    progress: bool | None = None,
) -> TrainResult:
    """Train, evaluate, compile, log and save one model, as ``sentiment train`` does.

    Parameters
    ----------
    overrides : sequence of str, or mapping
        Words such as ``"model.C=0.5"``, or keys and values: ``{"model.C": 0.5}``.
    data : DataFrame or (texts, labels), optional
        A table (pandas or polars) whose columns ``data.text_column`` and ``data.label_column`` name
        (and ``data.group_column`` and the like, where they are asked for), or two sequences. What
        is read of it is kept under ``output_dir/data``, so that the run can be made again.
    output_dir : path, optional
    progress : bool, optional
        Whether a bar for each stage is shown; by default in a notebook or a terminal.

    Returns
    -------
    TrainResult
        Metrics, digest, run id; a table in notebooks.

    Raises
    ------
    SentimentError
        As the command would say.

    Examples
    --------
    >>> import sentiment
    >>> says = {"up": "a joy, great fun", "down": "a bore, so dull"}
    >>> labels = ["up", "down"] * 40
    >>> result = sentiment.train(
    ...     {"model.C": 1.0},
    ...     ([f"{says[label]}: film {n}" for n, label in enumerate(labels)], labels),
    ...     output_dir=tmp,
    ... )
    >>> sentiment.load("latest", output_dir=tmp).predict(["great fun, a joy"]).labels
    ['up']
    """
    from sentiment.config import compose, to_dict
    from sentiment.data.table import keep_table
    from sentiment.progress import StageBars, bars
    from sentiment.registry.origin import with_origin
    from sentiment.tracking.beside import beside
    from sentiment.training.run import train as run

    words = _words(overrides)
    if output_dir is not None:
        words.append(f"output_dir={Path(output_dir)}")
    if data is not None:
        cfg = compose(with_origin(["data=files", "data.train=-", *words]))
        file = keep_table(data, to_dict(cfg)["data"], Path(cfg.output_dir))
        words = ["data=files", f"data.train={file}", *words]
    words = with_origin(words)
    cfg = compose(words)
    with bars(progress) as shown, beside() as mlflow:
        stages = StageBars(shown)
        return run(cfg, overrides=words, watch=stages.watch, progress=stages.step, beside=mlflow)


def sweep(
    overrides: Sequence[str] | Mapping[str, Any],
    *,
    output_dir: str | Path | None = None,
    progress: bool | None = None,
) -> dict[str, Any]:
    """Search over a space of configs, as ``sentiment sweep`` does.

    Parameters
    ----------
    overrides : sequence of str, or mapping
        A key with several values is searched: ``"model.C=0.1,1"`` or ``{"model.C": [0.1, 1]}``.
    output_dir : path, optional
    progress : bool, optional
        Whether a bar shows the jobs that are done and the best; by default in a notebook or a
        terminal.

    Returns
    -------
    dict
        What ``sweep.json`` holds: ``best``, ``jobs``, the lines to go on with.
    """
    from sentiment.sweep.sweeper import Task
    from sentiment.training.shell import hydra_shell

    words = _words(overrides, swept=True)
    if output_dir is not None:
        words.append(f"output_dir={Path(output_dir)}")
    task = Task(partial(_show, progress))
    hydra_shell(["-m", *words], task)
    assert task.summary is not None
    return task.summary


@contextmanager
def _show(progress: bool | None, board: Board) -> Iterator[None]:
    """Show how many jobs of a sweep are done, and the best so far, while the body runs."""
    from sentiment.progress import bars, repeating

    with bars(progress) as shown:
        if shown is None:
            yield
            return
        bar = shown.add_task("jobs", total=board.total, note="")

        def update() -> None:
            board.refresh()
            done = sum(entry.status.ended for entry in list(board.entries))
            note, best = f"{done} of {board.total}", board.best()
            if best is not None:
                note += f", best {board.objective} {best.status.objective:.4f}"
            if failed := board.counts()["failed"]:
                note += f", {failed} failed"
            shown.update(bar, completed=done, total=board.total, note=note)

        try:
            with repeating(update, 0.2):
                yield
        finally:
            update()


def evaluate(
    model: Scorer | str, texts: Iterable[str | None], labels: Iterable[Any]
) -> dict[str, float]:
    """Measure a model on labelled texts.

    Parameters
    ----------
    model : Scorer or str
        A model, or what `load` takes.
    texts : iterable of (str or None)
    labels : iterable
        One for each text, named as training names them: ``True`` is ``true``, ``1.0`` is ``1``.
        Rows without text or label are left out, and counted in a warning of the log.

    Returns
    -------
    dict of str to float
        Accuracy with its interval, F1, ROC AUC, calibration error and the rest.

    Raises
    ------
    DataError
        There are not as many labels as texts, or none of them is one of the model's.
    """
    from sentiment.data.labels import labelled
    from sentiment.evaluation.metrics import evaluate as measure

    scorer = load(model) if isinstance(model, str) else model
    if isinstance(texts, str):
        raise UsageError("give a list of texts, not one text")
    given, true, left_out = labelled(texts, labels, scorer.labels)
    if left_out:
        log.warning("%d rows without text or label were left out", left_out)
    return measure(
        true,
        scorer.predict_proba(given),
        scorer.labels,
        positive_label=scorer.positive_label,
        decision=scorer.decision,
    )


def _output_dir(given: str | Path | None) -> Path:
    import os

    return Path(given or os.environ.get("SENTIMENT_OUTPUT_DIR") or "outputs")


def _words(overrides: Sequence[str] | Mapping[str, Any], *, swept: bool = False) -> list[str]:
    """Return overrides as words of the command line."""
    if isinstance(overrides, str):
        raise UsageError(f"give a list of overrides: [{overrides!r}]")
    if not isinstance(overrides, Mapping):
        return list(overrides)
    words = []
    for key, value in overrides.items():
        if swept and isinstance(value, list | tuple):
            words.append(f"{key}={','.join(map(_word, value))}")
        else:
            words.append(f"{key}={_word(value)}")
    return words


def _word(value: Any) -> str:
    """Return a value in Hydra's grammar."""
    from sentiment.words import in_quotes

    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return in_quotes(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_word(key)}:{_word(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_word, value)) + "]"
    return str(value)
