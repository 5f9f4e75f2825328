"""The gate: what a model must show before it becomes champion, and what it showed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment import config
from sentiment.errors import Parameter, SentimentError, UsageError, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sentiment.config import GateConfig
    from sentiment.data.splits import Split
    from sentiment.scorer import Scorer

_LATENCY_CALLS = 300


@dataclass(frozen=True)
class Check:
    """One rule: what was measured, what is required, whether it holds, and the sentence."""

    name: str
    measured: float | str | None
    required: float | str | None
    passed: bool
    detail: str


@dataclass(frozen=True)
class GateResult:
    """What a gate said of a candidate."""

    gate: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """The sentences of the checks that fail."""
        return "; ".join(check.detail for check in self.checks if not check.passed)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain containers."""
        return {
            "gate": self.gate,
            "passed": self.passed,
            "checks": [asdict(check) for check in self.checks],
        }

    def summary(self) -> dict[str, Any]:
        """Return the figures that the history keeps: a registry's tag holds 5,000 characters."""
        checks = [
            {
                "name": check.name,
                "measured": _short(check.measured),
                "required": _short(check.required),
                "passed": check.passed,
            }
            for check in self.checks
        ]
        return {"gate": self.gate, "passed": self.passed, "checks": checks[:30]}


class GateRefusedError(SentimentError):
    """The candidate does not pass; `result` has every check."""

    def __init__(self, candidate: str, result: GateResult) -> None:
        self.result = result
        super().__init__(
            f"{candidate} is not promoted, gate '{result.gate}': {result.failures} "
            "(nothing was changed; ",
            Parameter("force", "REASON"),
            " promotes all the same)",
        )


@dataclass(frozen=True)
class Contender:
    """A model as the gate sees it.

    Attributes
    ----------
    name : str
        For messages: ``version 3`` or ``run 5e1f…``.
    load : callable
        Returns its scorer, verified; a champion's is only asked for when it must score rows.
    metrics : mapping
        What its run logged.
    test_fingerprint : str, optional
        Of the test rows that its run predicted.
    run_file : callable
        Fetches an artifact of its run: a path, or None when there is none.
    """

    name: str
    load: Callable[[], Scorer]
    metrics: Mapping[str, float]
    test_fingerprint: str | None
    run_file: Callable[[str], Path | None]


@dataclass(frozen=True)
class _Answers:
    """True labels of test rows and whether each was answered rightly."""

    texts: Sequence[str]  # hashes, to be sure that rows are paired
    labels: Sequence[str]
    correct: NDArray[np.bool_]


class _NoRowsError(Exception):
    """Why the test rows cannot be had."""


def load_rules(option: str, overrides: Sequence[str] = ()) -> GateConfig:
    """Compose the rules of ``gate=option`` with overrides such as ``gate.min.test_accuracy=0.9``.

    Raises
    ------
    UsageError
        If there is no such option or key, or a value cannot be.
    """
    from omegaconf import OmegaConf

    # Rules for further metrics are new keys, which Hydra wants to hear about explicitly.
    words = [f"++{word}" if re.match(r"gate\.(min|max)\.", word) else word for word in overrides]
    rules: GateConfig = OmegaConf.to_object(  # type: ignore[assignment]
        config.compose([f"gate={option}", *words], name="register").gate
    )
    if rules.significance is not None and not 0 < rules.significance < 1:
        raise UsageError(
            f"gate.significance={rules.significance} is not a p-value: give 0 < significance < 1, or null"
        )
    for key in ("max_drop", "max_latency_ms", "max_size_mb"):
        value = getattr(rules, key)
        if value is not None and not value >= 0:
            raise UsageError(f"gate.{key}={value} is below zero (null: no such rule)")
    return rules


def judge(
    rules: GateConfig, option: str, candidate: Contender, champion: Contender | None
) -> GateResult:
    """Hold a candidate against the rules and against the present champion.

    Parameters
    ----------
    rules : GateConfig
        From `load_rules`.
    option : str
        What the rules are called.
    candidate, champion : Contender
        The champion is None when there is none.

    Raises
    ------
    UsageError
        If a rule names a metric that the candidate's run did not log.
    """
    scorer = candidate.load()
    n_golden = len(scorer.document["golden"])
    # Loading refuses a scorer with another digest or other answers, so these two hold here.
    checks = [
        Check("digest", scorer.digest[:12], scorer.digest[:12], True, "the scorer is whole"),
        Check("golden", n_golden, n_golden, True, f"{n_golden} recorded answers are reproduced"),
    ]
    checks += [_bound(candidate, name, least, "least") for name, least in rules.min.items()]
    checks += [_bound(candidate, name, most, "most") for name, most in rules.max.items()]
    if rules.beat_majority:
        checks.append(_beats_majority(candidate))
    if rules.significance is not None or rules.max_drop is not None:
        checks += _against(rules, candidate, champion)
    if rules.max_latency_ms is not None:
        measured = latency_ms(scorer)
        checks.append(
            Check(
                "latency_ms",
                measured,
                rules.max_latency_ms,
                measured <= rules.max_latency_ms,
                f"median latency {measured:.3f} ms a text, at most {rules.max_latency_ms:g} ms required",
            )
        )
    if rules.max_size_mb is not None:
        measured = scorer.size_bytes / 1e6
        checks.append(
            Check(
                "size_mb",
                measured,
                rules.max_size_mb,
                measured <= rules.max_size_mb,
                f"scorer of {measured:.2f} MB, at most {rules.max_size_mb:g} MB required",
            )
        )
    return GateResult(option, tuple(checks))


def latency_ms(scorer: Scorer) -> float:
    """Return the median time in milliseconds that one recorded text takes."""
    texts = [case["text"] for case in scorer.document["golden"]] or ["a text"]
    seconds = []
    for number in range(_LATENCY_CALLS):
        text = texts[number % len(texts)]
        begin = time.perf_counter()
        scorer.predict_one(text)
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds) * 1e3)


def _bound(candidate: Contender, metric: str, limit: float, side: str) -> Check:
    measured = candidate.metrics.get(metric)
    if measured is None:
        rule = f"gate.{'min' if side == 'least' else 'max'}.{metric}"
        known = candidate.metrics
        raise UsageError(
            f"{rule}: {candidate.name} has no metric {metric!r}{nearest(metric, known)}"
            f" (it has {', '.join(sorted(known)[:40]) or 'none'})"
        )
    passed = measured >= limit if side == "least" else measured <= limit
    return Check(
        f"{'min' if side == 'least' else 'max'}.{metric}",
        measured,
        limit,
        passed,
        f"{metric} is {measured:.4f}, at {side} {limit:g} is required",
    )


def _beats_majority(candidate: Contender) -> Check:
    try:
        answers = _logged_answers(candidate) or _score(candidate, _test_rows(candidate))
    except _NoRowsError as reason:
        return Check("beat_majority", None, None, False, f"beat_majority: {reason}")
    _, counts = np.unique(np.asarray(answers.labels, dtype=str), return_counts=True)
    share, accuracy = float(counts.max() / counts.sum()), float(answers.correct.mean())
    return Check(
        "beat_majority",
        accuracy,
        share,
        accuracy > share,
        f"test accuracy is {accuracy:.4f}, more than the most frequent label's share of "
        f"{share:.4f} is required",
    )


def _against(rules: GateConfig, candidate: Contender, champion: Contender | None) -> list[Check]:
    """Compare with the champion on the same test rows."""
    from sentiment.evaluation.metrics import paired_test

    if champion is None:
        return [Check("champion", None, None, True, "there is no champion to compare with")]
    try:
        new, old, rows = _paired(candidate, champion)
    except _NoRowsError as reason:
        return [
            Check(
                "champion", None, None, False, f"cannot be compared with {champion.name}: {reason}"
            )
        ]
    test = paired_test(old, new)
    figures = (
        f"test accuracy {new.mean():.4f}, {champion.name} has {old.mean():.4f} on {rows} "
        f"(difference {test.difference:+.4f}, 95 % {test.low:+.4f} to {test.high:+.4f}; "
        f"McNemar p = {test.p_value:.2g})"
    )
    checks = []
    if rules.significance is not None:
        worse = test.difference < 0 and test.p_value < rules.significance
        required = f"p at least {rules.significance:g} is required of a less accurate model"
        checks.append(
            Check(
                "significance",
                test.p_value,
                rules.significance,
                not worse,
                f"{'significantly worse' if worse else 'not significantly worse'}: {figures}; {required}",
            )
        )
    if rules.max_drop is not None:
        checks.append(
            Check(
                "max_drop",
                -test.difference,
                rules.max_drop,
                -test.difference <= rules.max_drop,
                f"{figures}; a drop of at most {rules.max_drop:g} is allowed",
            )
        )
    return checks


def _paired(
    candidate: Contender, champion: Contender
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], str]:
    """Return whether each answered the same rows rightly, and which rows these are.

    Predictions that both runs logged are used when they are of the same rows; otherwise both
    scorers score the candidate's test rows now.
    """
    if candidate.test_fingerprint and candidate.test_fingerprint == champion.test_fingerprint:
        new, old = _logged_answers(candidate), _logged_answers(champion)
        if new and old and (new.texts, new.labels) == (old.texts, old.labels):
            return new.correct, old.correct, f"the same {len(new.correct):,} test rows"
    split = _test_rows(candidate)
    new, old = _score(candidate, split), _score(champion, split)
    return (
        new.correct,
        old.correct,
        f"the candidate's {len(split):,} test rows, scored now by both",
    )


def _logged_answers(contender: Contender) -> _Answers | None:
    """Read the run's test predictions; None when it logged none."""
    from sentiment.evaluation import predictions

    path = contender.run_file(predictions.FILE_NAME)
    found = None if path is None else predictions.read_predictions(path)
    # Cut off or of another program: the rows are scored instead.
    return None if found is None else _Answers(found.text_sha256, found.labels, found.correct)


def _test_rows(contender: Contender) -> Split:
    """Make the run's test split again from the config that it logged, and check that it is the same."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from sentiment.data.loading import load

    path = contender.run_file("config.yaml")
    if path is None:
        raise _NoRowsError(
            f"the run of {contender.name} has no config.yaml to make its test rows from"
        )
    try:
        cfg = config.to_dict(OmegaConf.load(path))  # type: ignore[arg-type]
        split: Split = load(cfg["data"], cfg["seed"]).splits.test
    except (SentimentError, OmegaConfBaseException, TypeError, KeyError) as error:
        raise _NoRowsError(
            f"the test rows of {contender.name} cannot be had here ({' '.join(str(error).split())})"
        ) from error
    if split.fingerprint() != contender.test_fingerprint:
        raise _NoRowsError(
            f"the test rows of {contender.name} are no longer the ones that it was tested on"
        )
    return split


def _score(contender: Contender, split: Split) -> _Answers:
    try:
        predicted = contender.load().predict(split.texts).labels
    except SentimentError as error:
        raise _NoRowsError(f"{contender.name} cannot score them ({error})") from error
    return _Answers(
        split.texts,
        split.labels,
        np.array([a == b for a, b in zip(predicted, split.labels, strict=True)]),
    )


def _short(value: float | str | None) -> float | str | None:
    return float(f"{value:.6g}") if isinstance(value, float) else value
