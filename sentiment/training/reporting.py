"""What a run says of its model: the page and the card, beside the baseline and the champion."""

from __future__ import annotations

import contextlib
import json
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from sentiment import __version__, config, store
from sentiment.errors import SentimentError
from sentiment.evaluation import predictions
from sentiment.evaluation.answers import Answers, read
from sentiment.evaluation.behavior import applies, load_suite, run_suite, told
from sentiment.evaluation.card import CARD, model_card
from sentiment.evaluation.choosing import choosing_section
from sentiment.evaluation.metrics import paired_test
from sentiment.evaluation.report import REPORT, Facts, Other, model_report, of_split
from sentiment.evaluation.slices import make_slices
from sentiment.tracking.tags import EXPERIMENT, TEST_FINGERPRINT

if TYPE_CHECKING:
    from sentiment.data.splits import Splits
    from sentiment.scorer import Scorer
    from sentiment.tracking.run import Run
    from sentiment.training.judging import Judged

log = logging.getLogger(__name__)

BEHAVIOR = "behavior.json"
_BASELINE = "baseline"
_NGRAMS = 10
_LIBRARIES = ("numpy", "scikit-learn", "scipy")


def write_reports(
    cfg: DictConfig,
    folder: Path,
    run: Run,
    splits: Splits,
    classes: Sequence[str],
    judged: Judged,
    scorer: Scorer,
    *,
    overrides: Sequence[str],
    whole: bool,
) -> None:
    """Write the page and the card of a run's model.

    Parameters
    ----------
    cfg : DictConfig
    folder : Path
    run : Run
    splits : Splits
    classes : sequence of str
        In the order of probabilities.
    judged : Judged
    scorer : Scorer
    overrides : sequence of str
        The words of the command line.
    whole : bool
        Whether the page is written, and texts are read and behaviour is tested for the card: of a
        sweep's jobs nobody looks at a hundred pages.
    """
    test, probabilities = splits.test, judged.probabilities["test"]
    answers = Answers(
        test.texts,
        test.labels,
        classes,
        probabilities,
        [classes[place] for place in scorer.decision.best(probabilities).tolist()],
        splits.positive_label,
        test.columns,
        read(scorer, test.texts) if whole and scorer.compiled else None,
        scorer.decision,
    )
    metrics = of_split(judged.metrics, "test")
    others = [
        _asked(run, "baseline", lambda: _baseline(run, answers, splits, overrides)),
        _asked(run, "champion", lambda: _champion(cfg, run, answers, splits)),
    ]
    digest, explains = scorer.digest, scorer if scorer.compiled else None
    facts = Facts(
        f"{splits.name}: {digest[:12]}",
        metrics,
        "test rows",
        others,
        _about(cfg, run, splits, digest, overrides),
    )
    slices = make_slices(answers)
    if whole:
        more = [*choosing_section(judged.chosen), *_curve(cfg, splits)]
        page = model_report(answers, facts, explains, slices, more)
        (folder / REPORT).write_text(page, encoding="utf-8")
    strongest = {} if explains is None else explains.top_features(_NGRAMS)
    card = model_card(
        answers,
        facts,
        slices,
        data=_data(cfg, splits),
        strongest={label: [one.ngram for one in found] for label, found in strongest.items()},
        behaviour=_behaviour(folder, run, scorer) if whole else (),
    )
    (folder / CARD).write_text(card, encoding="utf-8")


def _curve(cfg: DictConfig, splits: Splits) -> list[str]:
    """Return the section of the learning curve where it is asked for."""
    if not cfg.curve:
        return []
    from sentiment.training.curve import curve_section, learning_curve
    from sentiment.training.pipeline import build_pipeline
    from sentiment.training.weighing import asked

    weigh = asked(config.to_dict(cfg)["model"], cfg.data.balance, cfg.seed)
    return [
        curve_section(
            learning_curve(lambda: build_pipeline(cfg), splits, seed=cfg.seed, weigh=weigh)
        )
    ]


def _behaviour(folder: Path, run: Run, scorer: Scorer) -> list[str]:
    """Run the behavioural tests of this package where they are about these labels."""
    suite = load_suite()
    if not applies(suite, scorer.labels):
        return []
    found = run_suite(suite, scorer.predict, scorer.labels)
    run.log(metrics={"behavior_pass_rate": found.pass_rate})
    document = json.dumps(found.to_dict(), ensure_ascii=False, indent=1)
    (folder / BEHAVIOR).write_text(document, encoding="utf-8")
    return [
        f"Behavioural tests of sentiment in English: {found.pass_rate:.1%} of cases pass.",
        *told(found),
    ]


def _about(
    cfg: DictConfig, run: Run, splits: Splits, digest: str, overrides: Sequence[str]
) -> dict[str, str]:
    versions = [f"sentiment {__version__}", f"Python {sys.version.split()[0]}"]
    versions += [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
    return {
        "command": shlex.join(["sentiment", "train", *overrides]),
        "run": run.run_id,
        "model": digest,
        "data fingerprint": splits.fingerprint(),
        "config": config.content_hash(cfg),
        "versions": ", ".join(versions),
    }


def _data(cfg: DictConfig, splits: Splits) -> dict[str, str]:
    rows = {name: splits.report.get(f"rows_{name}", 0) for name in ("train", "val", "test")}
    by = next(
        (
            f"{key}={cfg.data[key]}"
            for key in ("split_column", "time_column", "group_column")
            if cfg.data[key] is not None
        ),
        f"split={cfg.data.split}",
    )
    found = {
        "name": f"{splits.name} ({splits.source})",
        "rows": ", ".join(f"{count:,} {name}" for name, count in rows.items()),
        "divided by": f"{by}, seed {cfg.seed}",
        "fingerprint": f"`{splits.fingerprint()}`",
    }
    for key, count in splits.report.items():
        if count and not key.startswith("rows_"):
            found[key.replace("_", " ")] = f"{count:,}"
    return found


def experiment_of(overrides: Sequence[str]) -> str | None:
    """Return the experiment file that a run takes as it is, but for its data and its places."""
    names = [word.partition("=")[2] for word in overrides if word.startswith("experiment=")]
    changed = any(word.lstrip("+~").startswith(("model", "vectorizer")) for word in overrides)
    return names[-1] if names and not changed else None


def _asked(run: Run, name: str, ask: Callable[[], Other]) -> Other:
    """Ask for another run; a report does without it while MLflow is away."""
    if run.unsent is None:
        with contextlib.suppress(SentimentError):
            return ask()
    return Other(name, note="cannot be had: MLflow does not answer")


def _baseline(run: Run, answers: Answers, splits: Splits, overrides: Sequence[str]) -> Other:
    """Compare with the newest run of ``experiment=baseline`` on the same test rows."""
    name = f"experiment={_BASELINE}"
    if experiment_of(overrides) == _BASELINE:
        return Other(name, note="this is it")
    number = run.newest({TEST_FINGERPRINT: splits.test.fingerprint(), EXPERIMENT: _BASELINE})
    if number is None:
        return Other(name, note=f"has not run on these rows: sentiment train {name}")
    return _paired(run, number, answers, name, f"run {number[:8]}")


def _champion(cfg: DictConfig, run: Run, answers: Answers, splits: Splits) -> Other:
    """Compare with what the pointer ``champion`` names, where it was tested on the same rows."""
    try:
        pointer = store.read_pointer(Path(cfg.output_dir), "champion")
        if pointer is None:
            return Other("champion", note="there is none yet")
        stored = store.resolve("champion", Path(cfg.output_dir))
    except SentimentError as error:
        return Other("champion", note=f"cannot be read: {error}")
    name = f"champion {stored.digest[:12]}"
    if stored.info.get("data", {}).get("test_fingerprint") != splits.test.fingerprint():
        return Other(name, note="was tested on other rows; the gate compares on rows new to both")
    return _paired(run, str(stored.info.get("run_id")), answers, name, "")


def _paired(run: Run, other: str, answers: Answers, name: str, note: str) -> Other:
    with TemporaryDirectory(prefix="sentiment-") as scratch:
        file = run.fetch(other, predictions.FILE_NAME, Path(scratch))
        found = None if file is None else predictions.read_predictions(file)
    if found is None or len(found.correct) != len(answers):
        return Other(name, note="its test predictions cannot be had")
    test = paired_test(found.correct, answers.correct)
    return Other(name, float(found.correct.mean()), test, note)
