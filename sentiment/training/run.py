"""The one training entry point: load, fit, judge, publish."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from sentiment import config
from sentiment.errors import ModelError, UsageError
from sentiment.text.engine import Engine, Threads, own_pages
from sentiment.tracking.tags import (
    CODE_HASH,
    CONFIG_HASH,
    DATA_FINGERPRINT,
    NOTES,
    PROCESS,
    TEST_FINGERPRINT,
)
from sentiment.training.stages import Stages

if TYPE_CHECKING:
    from sentiment.data.loading import Data
    from sentiment.data.splits import Splits
    from sentiment.evaluation.decisions import Rule
    from sentiment.tracking.beside import Beside
    from sentiment.tracking.run import Experiment, Run

log = logging.getLogger(__name__)


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
    unsent: str | None = None  # why what is logged waits for `sentiment runs resend`

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain containers."""
        return asdict(self)

    def _repr_html_(self) -> str:
        """Show the metrics as a table in a notebook."""
        from sentiment.evaluation.metrics import figure, of_people

        names, note = of_people(self.metrics, rare=bool(self.data.get("unequal_classes")))
        rows = "".join(
            f"<tr><td>{escape(name)}</td>"
            + "".join(f"<td>{figure(self.metrics, split, name)}</td>" for split in ("val", "test"))
            + "</tr>"
            for name in names
        )
        return (
            f"<p>model <code>{self.digest[:12]}</code>, run <code>{self.run_id}</code></p>"
            f"<table><tr><th></th><th>validation</th><th>test</th></tr>{rows}</table>"
            + (f"<p>{note}; <code>.metrics</code> has all</p>" if note else "")
        )


def train(
    cfg: DictConfig,
    *,
    overrides: Sequence[str] = (),
    watch: Callable[[str, float | None], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    run: Run | None = None,
    data: Data | None = None,
    point_latest: bool = True,
    draw: bool = True,
    beside: Beside | None = None,
) -> TrainResult:
    """Train, evaluate, compile, log and save one model.

    Parameters
    ----------
    cfg : DictConfig
        The composed root config.
    overrides : sequence of str
        The words of the command line, logged with the run.
    watch, progress : callable, optional
        Told of every stage, and of its steps: see `Stages`.
    run : Run, optional
        A run that the caller has started with `run_tags` and ends; without it one is started.
    data : Data, optional
        What `load` gave for the same ``cfg.data`` and ``cfg.seed``; without it the data is loaded.
    point_latest : bool
        Whether the pointer ``latest`` moves to the new model.
    draw : bool
        Whether the page is written; a sweep writes that of its best job alone.
    beside : Beside, optional
        The process that imports MLflow meanwhile, and logs; without it this one does.

    Raises
    ------
    SentimentError
        If the config, the data or the environment do not allow a training; nothing half
        written is left behind.
    """
    from sentiment.data.labels import unequal
    from sentiment.evaluation import decisions
    from sentiment.tracking import origin
    from sentiment.training import folds, weighing
    from sentiment.training.recipe import Recipe

    begin = time.perf_counter()
    stages = Stages(watch, progress)
    resolved = config.to_dict(cfg)  # what cannot be resolved is said before any work
    rule = decisions.Rule(**resolved["decision"])
    decisions.check(rule)
    weighing.check(resolved["model"], cfg.data.balance)
    recipe = Recipe(**resolved["semi"])
    if cfg.cv is not None:
        folds.check_asked(cfg.cv, streaming=cfg.data.streaming, time_column=cfg.data.time_column)
    _check_writable(config.folder("output_dir", cfg.output_dir))
    config.cache_dir(cfg)
    experiment = None if run is not None else _experiment(cfg, beside)
    with stages("load"):
        data = _checked(cfg, data or load(cfg, stages.progress))
        # This imports scikit-learn: not before wrong words and data have been refused.
        from sentiment.training.pipeline import build_pipeline

        pipeline = build_pipeline(cfg)
        n_folds = _n_folds(cfg, rule, data)
        weighed = weighing.weigh(
            pipeline[-1], resolved["model"].get("class_weight"), cfg.data.balance, data, cfg.seed
        )
        if weighed.limits:
            log.warning("data.balance=%s: %s", cfg.data.balance, weighed.told())
    from sentiment.patterns import check_patterns, patterns_of
    from sentiment.training import memory
    from sentiment.training.artifacts import publish
    from sentiment.training.cache import FeatureCache
    from sentiment.training.fitting import fit, vectorize
    from sentiment.training.judging import compiled_form, judge, own_metrics
    from sentiment.training.semi import self_train
    from sentiment.training.start import take_up

    own = own_metrics(resolved["metrics"])
    cache = FeatureCache(config.cache_dir(cfg) / "features", int(cfg.cache.max_gb * 1e9))
    with ExitStack() as stack:
        engine = stack.enter_context(_engine(cfg, data))
        if cfg.start_from is not None and data.stream is not None and not data.in_blocks:
            data = take_up(cfg.start_from, data, pipeline[0], pipeline[-1], Path(cfg.output_dir))
        try:
            check_patterns(patterns_of(pipeline))
        except ModelError as error:
            log.warning("a service refuses this model: %s", error)
        with stages("vectorize"):
            features = vectorize(
                pipeline, data, cache, engine, stages.progress,
                memory=memory.for_tasks(cfg.data.memory), resume=cfg.data.resume,
            )  # fmt: skip
        if data.in_blocks:
            memory.check_vocabulary(
                cfg.data.memory, features["train"].shape[1], pipeline[-1], len(data.splits.classes)
            )
        blocks = features["train"] if data.in_blocks else None
        if not cfg.data.resume:  # what is interrupted leaves nothing
            stack.callback(lambda: cache.release(blocks))
        with stages("track"):
            if experiment is not None:
                tags = run_tags(cfg) | origin.git_state() | data_tags(data.splits)
                run = experiment.start(name=cfg.run_name, tags=tags)
                stack.enter_context(run.ending())
            else:
                assert run is not None
                run.log(tags=data_tags(data.splits))
        assert run is not None
        if cfg.tracking.system_metrics:
            stack.enter_context(run.sampling())
        semi: dict[str, Any] | None = None
        over_folds: dict[str, float] = {}
        chosen: decisions.Chosen | None = None
        if n_folds is not None:
            with stages("folds"):
                chosen, over_folds, each = folds.judged(
                    pipeline, features["train"], data, cache, stages.progress,
                    n_folds=n_folds, weighing=weighed, rule=rule, seed=cfg.seed, own=own,
                )  # fmt: skip
                run.log_text(json.dumps(each, indent=1), "folds.json")
        with stages("fit"):
            if data.splits.unlabelled:
                fitted, verdict = self_train(
                    pipeline, features, data.splits, recipe, weighed, seed=cfg.seed
                )
                semi = verdict.to_dict()
                log.warning("%s", verdict)
                run.log_text(json.dumps(semi, indent=1), "semi.json")
            else:
                fitted = fit(
                    pipeline, features, data, cache, stages.progress,
                    weighing=weighed, passes=cfg.data.passes, seed=cfg.seed, resume=cfg.data.resume,
                )  # fmt: skip
        with stages("evaluate"):
            judged = judge(
                fitted, data.splits, rule,
                seed=cfg.seed, own=own, factors=weighed.factors, chosen=chosen,
            )  # fmt: skip
            judged = replace(judged, metrics={**over_folds, **judged.metrics})
            if weighed:
                log.warning(
                    "classes count %s: probabilities are those of their true shares, %s",
                    ", ".join(f"{name} {weighed.factors[name]:.3g}" for name in fitted.classes),
                    judged.chosen.decision.told(fitted.classes),
                )
        with stages("compile"):
            compiled = compiled_form(
                fitted, data.splits, judged, dtype=cfg.compile.dtype, prune=cfg.compile.prune
            )
        published = publish(
            cfg, run, data, fitted, judged, compiled, stages,
            overrides=overrides, point_latest=point_latest, draw=draw,
        )  # fmt: skip
        cache.release(blocks)
        stages.timings["total"] = time.perf_counter() - begin
        run.log(metrics={f"seconds_{name}": value for name, value in stages.timings.items()})
    return TrainResult(
        run_id=run.run_id,
        model=str(published.folder),
        digest=published.digest,
        metrics=judged.metrics,
        params=config.flatten(resolved),
        timings=stages.timings,
        output_dir=str(cfg.output_dir),
        data={
            "name": data.splits.name, "source": data.splits.source,
            "unequal_classes": unequal(data.splits.test.labels), **data.splits.report, **data.splits.notes,
            **({} if semi is None else {"semi": semi}),
        },
        unsent=run.unsent,
    )  # fmt: skip


def _checked(cfg: DictConfig, data: Data) -> Data:
    """Return the data as folds want them, where the config can learn from them."""
    from sentiment.training import folds
    from sentiment.training.start import check_labels

    if cfg.start_from is not None:
        check_labels(cfg.start_from, data.splits, Path(cfg.output_dir))
    if cfg.cv is not None:
        data = folds.pooled(data)
        folds.check_folds(cfg.cv, data)
    if cfg.curve:
        from sentiment.training.curve import check_rows

        check_rows(data.splits)
    return data


@contextmanager
def _engine(cfg: DictConfig, data: Data) -> Iterator[Engine]:
    """Give what computes with blocks."""
    from sentiment import engines

    if data.in_blocks:
        own_pages()
        with engines.engine(cfg.engine.name, cfg.engine.address) as engine:
            yield engine
        return
    if cfg.engine.name != "local":
        log.warning(
            "engine=%s computes what is made in blocks, and this fits into memory: "
            "data.memory=2GB bounds that", cfg.engine.name,
        )  # fmt: skip
    yield Threads()


def _n_folds(cfg: DictConfig, rule: Rule, data: Data) -> int | None:
    """Return how many folds there are: as asked, else where the decision is chosen on them.

    That is where it is asked for, or where no row validates.
    """
    from sentiment.training import folds

    if cfg.cv is not None:
        return int(cfg.cv)
    if not rule.tuned or rule.tuned_on == "validation":
        return None
    known = data.stream is None or data.in_blocks
    alone = not len(data.splits.val) and known and not data.splits.unlabelled
    if rule.tuned_on != "folds" and not alone:
        return None
    return folds.check_decision(data, time_column=cfg.data.time_column)


def _folds_asked(rule: Rule, cfg: DictConfig) -> bool:
    """Tell whether the config alone says that the decision is chosen on folds."""
    given = cfg.data
    named = given.val is not None or given.split_column is not None
    alone = rule.tuned_on is None and not given.val_size and not named
    return rule.tuned and (rule.tuned_on == "folds" or alone)


def load(
    cfg: DictConfig, progress: Callable[[str, int, int], None] = lambda _step, _done, _of: None
) -> Data:
    """Load the data that the config names; `progress` is told of the pieces of what memory does not hold."""
    from sentiment import engines
    from sentiment.data import loading
    from sentiment.evaluation import decisions
    from sentiment.training.memory import wants_blocks

    resolved = config.to_dict(cfg)
    in_blocks = wants_blocks(
        resolved["data"],
        vectorizer=resolved["vectorizer"],
        model=resolved["model"],
        folds=cfg.cv is not None or _folds_asked(decisions.Rule(**resolved["decision"]), cfg),
        curve=cfg.curve,
        cache=config.cache_dir(cfg),
    )
    if in_blocks:  # before text is read for minutes
        engines.check(cfg.engine.name, cfg.engine.address)
    return loading.load(
        resolved["data"], cfg.seed,
        in_blocks=in_blocks, goes_on=cfg.start_from is not None, progress=progress,
    )  # fmt: skip


def _check_writable(output_dir: Path) -> None:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=output_dir, prefix=".writable-"):
            pass
    except OSError as error:
        raise UsageError(
            f"output_dir={output_dir} cannot be written: {error.strerror}; give another: output_dir=PATH"
        ) from error


def _experiment(cfg: DictConfig, beside: Beside | None) -> Experiment:
    """Return where the new run goes, with what is to be said of it before."""
    from sentiment.tracking.address import remember
    from sentiment.tracking.client import old_file_store
    from sentiment.tracking.run import Experiment
    from sentiment.tracking.unsent import journals

    output_dir = Path(cfg.output_dir)
    remember(output_dir, cfg.tracking.uri)
    if waiting := journals(output_dir):
        log.warning("%d runs wait to be logged: `sentiment runs resend`", len(waiting))
    if hint := old_file_store(Path.cwd(), output_dir):
        log.warning("%s", hint)
    make = Experiment if beside is None else beside.experiment
    return make(output_dir, cfg.experiment_name, cfg.tracking.artifacts)


def run_tags(cfg: DictConfig) -> dict[str, str]:
    """Return the tags that a run has from its first moment."""
    from sentiment.tracking import origin

    return {
        CONFIG_HASH: config.content_hash(cfg),
        CODE_HASH: origin.code_hash(),
        PROCESS: origin.process_identity(),
        **({NOTES: cfg.tracking.notes} if cfg.tracking.notes else {}),
        **{key: str(value) for key, value in cfg.tracking.tags.items()},
    }


def data_tags(splits: Splits) -> dict[str, str]:
    """Return the tags that say which rows a run saw."""
    return {
        DATA_FINGERPRINT: splits.fingerprint(),
        TEST_FINGERPRINT: splits.test.fingerprint(),
    }
