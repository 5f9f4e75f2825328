"""The gate's rules on real models: both figures in every answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from sentiment.config import CONFIG_DIR, GateConfig
from sentiment.errors import UsageError
from sentiment.registry.gate import Check, Contender, GateResult, judge, load_rules
from sentiment.scorer import Scorer

from .conftest import Trained


@pytest.fixture
def contender(trained: Trained) -> Callable[..., Contender]:
    """Make a contender of one of the trained runs, its files from where MLflow put them."""

    def make(name: str, **changes: object) -> Contender:
        run = trained.runs[name]
        folder = trained.folder / "artifacts" / run.run_id / "artifacts"

        def run_file(file: str) -> Path | None:
            return folder / file if (folder / file).exists() else None

        stored = Path(run.model)
        import json

        info = json.loads((stored / "info.json").read_text())
        made = Contender(
            name,
            lambda: Scorer.load(stored / "scorer"),
            run.metrics,
            info["data"]["test_fingerprint"],
            run_file,
        )
        return dataclasses.replace(made, **changes)

    return make


def check(result: GateResult, name: str) -> Check:
    return next(check for check in result.checks if check.name == name)


@pytest.mark.parametrize("option", sorted(path.stem for path in (CONFIG_DIR / "gate").iterdir()))
def test_every_shipped_set_of_rules_composes(option: str) -> None:
    assert isinstance(load_rules(option), GateConfig)


def test_rules_are_changed_added_and_taken_away() -> None:
    rules = load_rules(
        "strict", ["gate.min.test_f1_score=0.5", "~gate.max.test_ece", "gate.max_size_mb=null"]
    )
    assert rules.min == {"test_accuracy": 0.85, "test_f1_score": 0.5}
    assert rules.max == {}
    assert rules.max_size_mb is None
    assert load_rules("none") == GateConfig(beat_majority=False, significance=None)


@pytest.mark.parametrize(
    ("option", "words", "hint"),
    [
        ("strikt", [], "did you mean 'strict'?"),
        ("default", ["gate.signifcance=0.1"], "did you mean 'gate.significance'?"),
        ("default", ["gate.significance=high"], "gate.significance"),
        ("default", ["gate.significance=1.5"], "0 < significance < 1"),
        ("default", ["gate.max_size_mb=-1"], "below zero"),
        ("default", ["model.C=1"], "unknown key 'model.C'"),
    ],
)
def test_a_wrong_rule_is_named_with_its_fix(option: str, words: list[str], hint: str) -> None:
    with pytest.raises(UsageError, match=hint.replace("?", r"\?")):
        load_rules(option, words)


def test_bounds_say_what_was_measured_and_required(contender: Callable[..., Contender]) -> None:
    rules = GateConfig(min={"test_accuracy": 0.999}, max={"test_ece": 0.9}, significance=None)
    result = judge(rules, "mine", contender("good"), None)
    assert not result.passed
    failed = check(result, "min.test_accuracy")
    assert failed.measured == contender("good").metrics["test_accuracy"]
    assert failed.required == 0.999
    assert f"{failed.measured:.4f}" in result.failures
    assert "0.999" in result.failures
    assert check(result, "max.test_ece").passed
    assert check(result, "golden").passed


def test_a_metric_that_the_run_lacks_is_named(contender: Callable[..., Contender]) -> None:
    with pytest.raises(UsageError, match="did you mean 'test_accuracy'"):
        judge(GateConfig(min={"test_acuracy": 0.5}), "mine", contender("good"), None)


def test_a_model_that_says_one_label_does_not_beat_the_majority(
    contender: Callable[..., Contender],
) -> None:
    assert not check(judge(GateConfig(), "d", contender("poor"), None), "beat_majority").passed
    assert check(judge(GateConfig(), "d", contender("good"), None), "beat_majority").passed


def test_worse_on_the_same_rows_is_refused_with_its_p_value(
    contender: Callable[..., Contender],
) -> None:
    worse = judge(GateConfig(), "d", contender("poor"), contender("good"))
    found = check(worse, "significance")
    assert not found.passed
    assert isinstance(found.measured, float)
    assert found.measured < 0.001
    assert "the same 240 test rows" in found.detail
    assert "McNemar p = " in found.detail
    better = judge(GateConfig(max_drop=0.0), "d", contender("good"), contender("poor"))
    assert check(better, "significance").passed
    assert check(better, "max_drop").passed


def test_other_test_rows_are_scored_by_both(contender: Callable[..., Contender]) -> None:
    result = judge(GateConfig(), "d", contender("elsewhere"), contender("poor"))
    found = check(result, "significance")
    assert found.passed
    assert "scored now by both" in found.detail
    refused = judge(GateConfig(), "d", contender("poor"), contender("elsewhere"))
    assert not check(refused, "significance").passed


def test_predictions_that_cannot_be_read_are_made_again(
    contender: Callable[..., Contender], tmp_path: Path
) -> None:
    broken = tmp_path / "test_predictions.parquet"
    broken.write_bytes(b"PAR1 cut off")
    good = contender("good")
    files = {"test_predictions.parquet": broken, "config.yaml": good.run_file("config.yaml")}
    candidate = dataclasses.replace(good, run_file=files.get)
    found = check(judge(GateConfig(), "d", candidate, contender("poor")), "significance")
    assert found.passed
    assert "scored now by both" in found.detail


def test_rows_that_cannot_be_had_fail_the_check_with_the_reason(
    contender: Callable[..., Contender], tmp_path: Path
) -> None:
    good = contender("good")
    nothing = dataclasses.replace(good, run_file=lambda _name: None)
    result = judge(GateConfig(), "d", nothing, contender("poor"))
    assert not check(result, "champion").passed
    assert "no config.yaml" in check(result, "champion").detail

    gone = (good.run_file("config.yaml") or tmp_path).read_text().replace("reviews.csv", "gone.csv")
    (tmp_path / "config.yaml").write_text(gone)
    moved = dataclasses.replace(
        good, run_file={"config.yaml": tmp_path / "config.yaml"}.get, test_fingerprint="x"
    )
    assert (
        "gone.csv" in check(judge(GateConfig(), "d", moved, contender("poor")), "champion").detail
    )

    changed = dataclasses.replace(contender("elsewhere"), test_fingerprint="other rows")
    found = check(judge(GateConfig(), "d", changed, contender("poor")), "champion")
    assert "no longer the ones" in found.detail


def test_caps_on_size_and_latency(contender: Callable[..., Contender]) -> None:
    tight = GateConfig(significance=None, max_latency_ms=0.0, max_size_mb=0.000001)
    result = judge(tight, "d", contender("good"), None)
    assert not check(result, "latency_ms").passed
    assert not check(result, "size_mb").passed
    wide = GateConfig(significance=None, max_latency_ms=1e6, max_size_mb=1e6)
    assert judge(wide, "d", contender("good"), None).passed
