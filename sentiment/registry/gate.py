"""The gate: what a model must show before it becomes champion, and what it showed."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment import config
from sentiment.errors import Parameter, SentimentError, UsageError, nearest
from sentiment.evaluation.behavior import applies, load_suite, run_suite
from sentiment.registry.contest import (
    Contender,
    NoRowsError,
    contest,
    labels_of,
    own_answers,
    relabelled,
)

if TYPE_CHECKING:
    from sentiment.config import GateConfig
    from sentiment.scorer import Scorer

_LATENCY_CALLS = 300
_FEWEST_KNOWN = 100  # rows known to both, to tell how many have another label
LABELS = "labels"
"""The check that no force overrules: what the labels are."""


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
    def other_labels(self) -> bool:
        """Whether the labels are not the champion's, without leave."""
        return any(check.name == LABELS and not check.passed for check in self.checks)

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
            Parameter("allow_other_labels" if result.other_labels else "force", "REASON"),
            " allows that)" if result.other_labels else " promotes all the same)",
        )


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
    if rules.min_rows < 1:
        raise UsageError(f"gate.min_rows={rules.min_rows} is no number of rows: give 1 or more")
    if rules.min_behavior is not None and not 0 <= rules.min_behavior <= 1:
        raise UsageError(
            f"gate.min_behavior={rules.min_behavior} is no share from 0 to 1 (or null)"
        )
    if rules.behavior_file is not None:
        if rules.min_behavior is None:
            raise UsageError(
                f"gate.behavior_file={rules.behavior_file} is for gate.min_behavior: give a share too"
            )
        load_suite(Path(rules.behavior_file))
    for key in ("max_drop", "max_relabelled", "max_latency_ms", "max_size_mb"):
        value = getattr(rules, key)
        if value is not None and not value >= 0:
            raise UsageError(f"gate.{key}={value} is below zero (null: no such rule)")
    return rules


def judge(
    rules: GateConfig,
    option: str,
    candidate: Contender,
    champion: Contender | None,
    *,
    other_labels: str | None = None,
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
    other_labels : str, optional
        Why other labels than the champion's are right; without it they fail.

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
    if champion is None:
        checks.append(Check("champion", None, None, True, "there is no champion to compare with"))
    else:
        labels, same_task = _same_labels(candidate, champion, other_labels)
        checks.append(labels)
        if same_task:
            if rules.max_relabelled is not None:
                checks += _relabelled(rules.max_relabelled, candidate, champion)
            if rules.significance is not None or rules.max_drop is not None:
                checks += _against(rules, candidate, champion)
    if rules.min_behavior is not None:
        checks.append(_behaves(rules.min_behavior, rules.behavior_file, scorer))
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


def _behaves(least: float, file: str | None, scorer: Scorer) -> Check:
    suite = load_suite(None if file is None else Path(file))
    if file is None and not applies(suite, scorer.labels):
        detail = f"{suite.source} are not about these labels: gate.behavior_file names others"
        return Check("behavior", None, least, True, detail)
    found = run_suite(suite, scorer.predict, scorer.labels)
    failed = [
        f"{one.name} ({one.failures} of {one.cases})" for one in found.findings if not one.passed
    ]
    detail = (
        f"{found.pass_rate:.1%} of behavioural cases pass, at least {least:.1%} is required"
        f"{'; failing: ' + ', '.join(failed) if failed else ''}"
    )
    return Check("behavior", found.pass_rate, least, found.pass_rate >= least, detail)


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
        answers = own_answers(candidate)
    except NoRowsError as reason:
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


def _same_labels(
    candidate: Contender, champion: Contender, allowed: str | None
) -> tuple[Check, bool]:
    """Hold the labels against the champion's, and return whether answers can be compared."""
    try:
        (new, positive), (old, before) = labels_of(candidate), labels_of(champion)
    except SentimentError as error:
        detail = f"the labels of {champion.name} cannot be had ({error})"
        return Check(LABELS, None, None, allowed is not None, detail), True
    if (new, positive) == (old, before):
        check = Check(LABELS, _named(new), _named(old), True, "the labels are the champion's")
        return check, True
    if set(new) != set(old):
        what = f"its labels are {_named(new)}, those of {champion.name} are {_named(old)}"
    elif new != old:
        what = f"its labels stand in the order {_named(new)}, those of {champion.name} as {_named(old)}"
    else:
        what = f"its positive label is {positive!r}, that of {champion.name} is {before!r}"
    said = f"{what}: {'allowed: ' + allowed if allowed else 'another task'}"
    check = Check(LABELS, _named(new), _named(old), allowed is not None, said)
    return check, set(new) == set(old)


def _named(labels: Sequence[str]) -> str:
    return ", ".join(labels[:10]) + (f" and {len(labels) - 10} more" if len(labels) > 10 else "")


def _relabelled(limit: float, candidate: Contender, champion: Contender) -> list[Check]:
    found = relabelled(candidate, champion)
    if found is None or found[0] < _FEWEST_KNOWN:
        return []
    known, changed = found
    return [
        Check(
            "relabelled",
            changed / known,
            limit,
            changed / known <= limit,
            f"{changed:,} of the {known:,} test rows that {champion.name} was tested on too carry "
            f"another label now ({changed / known:.1%}); at most {limit:.1%} is allowed",
        )
    ]


def _against(rules: GateConfig, candidate: Contender, champion: Contender) -> list[Check]:
    """Compare with the champion on rows that neither has seen."""
    try:
        found = contest(candidate, champion, min_rows=rules.min_rows)
    except NoRowsError as reason:
        return [
            Check(
                "champion", None, None, False, f"cannot be compared with {champion.name}: {reason}"
            )
        ]
    test = found.difference
    figures = (
        f"test accuracy {found.new:.4f}, {champion.name} has {found.old:.4f} on {found.rows} "
        f"(difference {test.difference:+.4f}, 95 % {test.low:+.4f} to {test.high:+.4f}; "
        f"{found.test} p = {test.p_value:.2g})"
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


def _short(value: float | str | None) -> float | str | None:
    return float(f"{value:.6g}") if isinstance(value, float) else value
