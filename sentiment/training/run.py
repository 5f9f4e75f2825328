"""The one training entry point: load, split, fit, evaluate, compile, log, save."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from sentiment import config
from sentiment.errors import SentimentError, UsageError
from sentiment.tracking.tags import (
    CODE_HASH,
    CONFIG_HASH,
    DATA_FINGERPRINT,
    PROCESS,
    TEST_FINGERPRINT,
)
from sentiment.training.artifacts import about, log_model, log_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sentiment.compiler.compile import CompiledScorer
    from sentiment.data.splits import Splits
    from sentiment.data.stream import Stream
    from sentiment.tracking.run import Run

log = logging.getLogger(__name__)

# The keys of `data` that `sentiment.stream.survey` knows.
_STREAMED = (
    "name",
    "train",
    "test",
    "text_column",
    "label_column",
    "label_names",
    "positive_label",
    "val_size",
    "test_size",
    "on_bad_rows",
)


@dataclass(frozen=True)
class TrainResult:
    """What a training run gives back; ``--json`` prints its fields."""

    run_id: str
    model: str
    digest: str
    metrics: dict[str, float]
    params: dict[str, Any]
    timings: dict[str, float]
    output_dir: str
    data: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain containers."""
        return asdict(self)


class Stages:
    """Times the named stages of a run and tells whoever watches.

    Parameters
    ----------
    watch : callable, optional
        Called with a stage's name when it begins, and with name and seconds when it ends.
    """

    def __init__(self, watch: Callable[[str, float | None], None] | None = None) -> None:
        self.timings: dict[str, float] = {}
        self._watch = watch or (lambda _name, _seconds: None)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the body as stage ``name``."""
        self._watch(name, None)
        begin = time.perf_counter()
        yield
        seconds = time.perf_counter() - begin
        self.timings[name] = self.timings.get(name, 0.0) + seconds
        log.info("%s: %.2f s", name, seconds)
        self._watch(name, seconds)


class _Background:
    """Run a function in a thread; `result` waits for it and raises what it raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self._thread.start()

    def _run(self, function: Callable[[], Any]) -> None:
        try:
            self._value = function()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value


def train(
    cfg: DictConfig,
    *,
    overrides: Sequence[str] = (),
    watch: Callable[[str, float | None], None] | None = None,
    run: Run | None = None,
    splits: Splits | None = None,
    point_latest: bool = True,
    draw: bool = True,
) -> TrainResult:
    """Train, evaluate, compile, log and save one model.

    Parameters
    ----------
    cfg : DictConfig
        The composed root config.
    overrides : sequence of str
        The words of the command line, logged with the run.
    watch : callable, optional
        Told of every stage: see `Stages`.
    run : Run, optional
        A run that the caller has started with `run_tags` and ends; without it one is started.
    splits : Splits, optional
        What `load` gave for the same ``cfg.data`` and ``cfg.seed``; without it the data is loaded.
    point_latest : bool
        Whether the pointer ``latest`` moves to the new model.
    draw : bool
        Whether the figure is drawn; a sweep draws that of its best job alone.

    Raises
    ------
    SentimentError
        If the config, the data or the environment do not allow a training; nothing half
        written is left behind.
    """
    stages = Stages(watch)
    begin = time.perf_counter()
    output_dir = _writable(Path(cfg.output_dir))
    # Importing MLflow and opening its database take seconds that the machine's other core has.
    connection = None if run is not None else _Background(lambda: _connect(cfg, output_dir))
    try:
        with stages("load"):
            stream = load_stream(cfg) if cfg.data.streaming else None
            splits = stream.splits if stream else splits or load(cfg)
            from sentiment.training.pipeline import build_pipeline

            pipeline = build_pipeline(cfg)
        with stages("vectorize"):
            vectorizer, classifier = pipeline.named_steps.values()
            if stream:
                features = _held_out_features(vectorizer, splits)
            else:
                features = _features(cfg, vectorizer, splits)
        with stages("track"):
            ending: AbstractContextManager[None] = nullcontext()
            if run is None:
                assert connection is not None
                run = connection.result()(cfg)
                ending = run.ending()
    except SentimentError:
        raise
    except ValueError as error:
        raise UsageError(f"vectorizer: {_one_line(error)}") from error
    with ending, TemporaryDirectory(prefix="sentiment-") as scratch:
        run.set_tags(data_tags(splits))
        with stages("fit"):
            try:
                if stream:
                    stream.fit(vectorizer, classifier, passes=cfg.data.passes, seed=cfg.seed)
                else:
                    classifier.fit(features["train"], splits.train.labels)
            except ValueError as error:
                raise UsageError(f"model: {_one_line(error)}") from error
        with stages("evaluate"):
            metrics, probabilities = _evaluate(cfg, classifier, features, splits)
        with stages("compile"):
            compiled = _compile(cfg, vectorizer, classifier, splits, probabilities["test"])
        with stages("save"):
            from sentiment import store
            from sentiment.compiler import fallback

            if compiled is None:
                model = _keep_pipeline(pipeline, output_dir, run.run_id)
                digest = ""
            else:
                info = about(cfg, run.run_id, metrics, splits)
                stored = store.save_model(compiled, info, output_dir)
                model, digest = stored.path.parent, stored.digest
        with stages("log"):
            folder = Path(scratch)
            # The model first: metrics logged before it, MLflow would read again one by one.
            if compiled is None:
                run.log_artifact(model / fallback.FILE_NAME, "pipeline")
            else:
                log_model(run, folder, stored, compiled, splits)
            log_run(cfg, run, folder, overrides, splits, metrics, probabilities, classifier, draw)
            run.log_artifacts(folder)
            if digest and point_latest:
                store.set_pointer(
                    output_dir, "latest", digest, run_id=run.run_id, source=f"runs:/{run.run_id}"
                )
        stages.timings["total"] = time.perf_counter() - begin
        run.log_metrics({f"seconds_{name}": value for name, value in stages.timings.items()})
    return TrainResult(
        run_id=run.run_id,
        model=str(model),
        digest=digest,
        metrics=metrics,
        params=config.flatten(config.to_dict(cfg)),
        timings=stages.timings,
        output_dir=str(cfg.output_dir),
        data={"name": splits.name, "source": splits.source, **splits.report},
    )


def main(arguments: Sequence[str], task: Callable[[DictConfig], Any]) -> None:
    """Run ``task`` under Hydra with these words of the command line.

    Hydra's own shell is what gives multirun, launchers and ``--cfg``; it reads ``sys.argv``
    and returns nothing, so results leave through ``task``.

    Raises
    ------
    UsageError
        If the config cannot be composed.
    """
    import hydra

    config.register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors out instead of printing and exiting
    argv, sys.argv = sys.argv, ["sentiment", *arguments]
    root = logging.getLogger()
    handlers = list(root.handlers)
    try:
        hydra.main(version_base="1.3", config_path=str(config.CONFIG_DIR), config_name="config")(
            task
        )()
    except Exception as error:
        # Hydra's "no such config" is an OSError too, but names no file.
        if isinstance(error, OSError) and error.filename is not None:
            raise UsageError(
                f"{error.filename} cannot be written: {error.strerror}; give another folder: output_dir=PATH"
            ) from error
        raise config.explain_error(error, arguments) from error
    finally:
        sys.argv = argv
        # Hydra leaves its handlers, on this run's log file and this moment's stderr, to the process.
        for handler in [one for one in root.handlers if one not in handlers]:
            root.removeHandler(handler)
            handler.close()


def _writable(output_dir: Path) -> Path:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=output_dir, prefix=".writable-"):
            pass
    except OSError as error:
        raise UsageError(
            f"output_dir={output_dir} cannot be written: {error.strerror}; give another: output_dir=PATH"
        ) from error
    return output_dir


def _connect(cfg: DictConfig, output_dir: Path) -> Callable[[DictConfig], Run]:
    """Open MLflow and return what starts a run there."""
    from sentiment.tracking import client as tracking
    from sentiment.tracking import origin
    from sentiment.tracking.run import Run

    client = tracking.connect(output_dir, cfg.tracking.uri)
    experiment = tracking.experiment_id(client, cfg.experiment_name, output_dir)
    hint = tracking.old_file_store(Path.cwd(), output_dir)
    if hint:
        log.warning("%s", hint)
    tags = run_tags(cfg) | origin.git_state()
    return lambda cfg: Run.start(client, experiment, name=cfg.run_name, tags=tags)


def run_tags(cfg: DictConfig) -> dict[str, str]:
    """Return the tags that a run has from its first moment."""
    from sentiment.tracking import origin

    return {
        CONFIG_HASH: config.content_hash(cfg),
        CODE_HASH: origin.code_hash(),
        PROCESS: origin.process_identity(),
        **{key: str(value) for key, value in cfg.tracking.tags.items()},
    }


def data_tags(splits: Splits) -> dict[str, str]:
    """Return the tags that say which rows a run saw."""
    return {
        DATA_FINGERPRINT: splits.fingerprint(),
        TEST_FINGERPRINT: splits.test.fingerprint(),
    }


def load(cfg: DictConfig) -> Splits:
    """Load the data that the config names, and warn of rows that do not count or count twice."""
    from sentiment.data.splits import load_splits

    arguments = config.to_dict(cfg)["data"]
    for key in ("streaming", "passes"):
        arguments.pop(key)
    splits = load_splits(**arguments, seed=cfg.seed)
    _warn_of_rows(splits)
    return splits


def load_stream(cfg: DictConfig) -> Stream:
    """Read a file larger than memory for the first time."""
    from sentiment.data.stream import survey

    data = config.to_dict(cfg)["data"]
    if data["source"] != "files" or data["sample_size"] is not None:
        raise UsageError(
            "data.streaming=true reads whole files: use it with data=files and without data.sample_size"
        )
    arguments = {key: data[key] for key in _STREAMED}
    stream = survey(**arguments, seed=cfg.seed)
    _warn_of_rows(stream.splits)
    return stream


def _warn_of_rows(splits: Splits) -> None:
    for name in ("train", "test"):
        dropped = splits.report.get(f"empty_texts_{name}", 0)
        dropped += splits.report.get(f"missing_labels_{name}", 0)
        if dropped:
            log.warning("%s: dropped %d rows without text or label", name, dropped)
    shared = splits.report.get("test_texts_also_in_train", 0)
    if shared:
        log.warning(
            "%d of %d test texts also stand in train: test figures are that much too good",
            shared,
            len(splits.test),
        )


def _features(cfg: DictConfig, vectorizer: Any, splits: Splits) -> dict[str, Any]:
    from sentiment.training.cache import FeatureCache

    folder = Path(cfg.output_dir) / "cache" / "features"
    return FeatureCache(folder, int(cfg.cache.max_gb * 1e9)).fit(vectorizer, splits)


def _held_out_features(vectorizer: Any, splits: Splits) -> dict[str, Any]:
    """Transform what is held out; a vectorizer that must be fitted cannot stream."""
    from sentiment.vectorizers import HashingVectorizer

    if not isinstance(vectorizer, HashingVectorizer):
        raise UsageError(
            f"data.streaming=true needs a vectorizer that learns nothing, not {type(vectorizer).__name__}: "
            "vectorizer=hashing"
        )
    parts = {"val": splits.val, "test": splits.test}
    return {name: vectorizer.transform(part.texts) for name, part in parts.items() if len(part)}


def _evaluate(
    cfg: DictConfig, classifier: Any, features: Mapping[str, Any], splits: Splits
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    from sentiment.evaluation.metrics import evaluate

    if not hasattr(classifier, "predict_proba"):
        raise UsageError(
            f"model: {type(classifier).__name__} gives no probabilities with these parameters; "
            "use a loss that does (model.loss=log_loss), or model=linear_svc, which is calibrated"
        )
    metrics: dict[str, float] = {}
    probabilities: dict[str, NDArray[np.float64]] = {}
    for name, split in (("val", splits.val), ("test", splits.test)):
        if not len(split):
            continue
        probabilities[name] = np.asarray(classifier.predict_proba(features[name]), np.float64)
        figures = evaluate(
            split.labels,
            probabilities[name],
            [str(label) for label in classifier.classes_],
            positive_label=splits.positive_label,
            seed=cfg.seed,
        )
        metrics |= {f"{name}_{key}": value for key, value in figures.items()}
    return metrics, probabilities


def _compile(
    cfg: DictConfig,
    vectorizer: Any,
    classifier: Any,
    splits: Splits,
    expected: NDArray[np.float64],
) -> CompiledScorer | None:
    """Compile the pipeline and hold it against its own answers on the test split.

    A step of the user's own may not come down to linear scores: then there is no scorer.
    """
    from sentiment.compiler.compile import NotCompilableError, compile_scorer, tolerance
    from sentiment.text.corpus import parallel

    # What held-out texts look like is the reference that drift is measured against.
    reference = splits.val if len(splits.val) else splits.test
    try:
        compiled = compile_scorer(
            vectorizer,
            classifier,
            positive_label=splits.positive_label,
            reference_texts=reference.texts,
            reference_labels=reference.labels,
            reference_name="validation" if len(splits.val) else "test",
            dtype=cfg.compile.dtype,
            prune=cfg.compile.prune,
        )
    except NotCompilableError as error:
        log.warning(
            "%s; the pipeline is kept in skops format, which predict and serve cannot use", error
        )
        return None
    if cfg.compile.dtype == "float32" and not cfg.compile.prune:
        found = compiled.scorer.predict(splits.test.texts, parallel)
        answers = found.probabilities
        worst = float(np.abs(answers - expected).max())
        same = bool((answers.argmax(axis=1) == expected.argmax(axis=1)).all())
        if worst > tolerance(found.scores) or not same:
            raise SentimentError(
                f"the compiled scorer disagrees with the pipeline by {worst:.2g} on the test split; "
                "this is a defect: please report it with the config of this run"
            )
    return compiled


def _keep_pipeline(pipeline: Any, output_dir: Path, run_id: str) -> Path:
    """Write a pipeline that does not compile; return its folder."""
    from sentiment.compiler import fallback

    folder = output_dir / "pipelines" / run_id
    folder.mkdir(parents=True)
    fallback.save_pipeline(pipeline, folder / fallback.FILE_NAME)
    return folder


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
