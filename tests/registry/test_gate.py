"""The gate's rules on real models: both figures in every answer."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from copy import copy
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from omegaconf import OmegaConf

from sentiment.config import CONFIG_DIR, GateConfig
from sentiment.data import hashes, loading
from sentiment.errors import UsageError
from sentiment.registry.contest import Contender
from sentiment.registry.gate import Check, GateResult, judge, load_rules
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


def _settings(contender: Contender) -> tuple[dict, int]:
    cfg = OmegaConf.to_container(OmegaConf.load(contender.run_file("config.yaml") or ""))
    return cfg["data"], cfg["seed"]


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
    assert load_rules("none") == GateConfig(
        beat_majority=False, significance=None, max_relabelled=None
    )


@pytest.mark.parametrize(
    ("option", "words", "hint"),
    [
        ("strikt", [], "did you mean 'strict'?"),
        ("default", ["gate.signifcance=0.1"], "did you mean 'gate.significance'?"),
        ("default", ["gate.significance=high"], "gate.significance"),
        ("default", ["gate.significance=1.5"], "0 < significance < 1"),
        ("default", ["gate.max_size_mb=-1"], "below zero"),
        ("default", ["model.C=1"], "unknown key 'model.C'"),
        ("default", ["gate.min_behavior=2"], "no share from 0 to 1"),
        ("default", ["gate.behavior_file=b.yaml"], "give a share too"),
        ("strict", ["gate.behavior_file=b.yaml"], "b.yaml: cannot be read"),
    ],
)
def test_a_wrong_rule_is_named_with_its_fix(option: str, words: list[str], hint: str) -> None:
    with pytest.raises(UsageError, match=hint.replace("?", r"\?")):
        load_rules(option, words)


def test_behaviour_is_a_rule(contender: Callable[..., Contender], tmp_path: Path) -> None:
    rules = load_rules("none", ["gate.min_behavior=0.99"])
    refused = check(judge(rules, "none", contender("good"), None), "behavior")
    assert not refused.passed
    assert refused.measured < 0.99
    assert "failing: " in refused.detail
    assert check(
        judge(load_rules("none", ["gate.min_behavior=0.1"]), "none", contender("good"), None),
        "behavior",
    ).passed
    file = tmp_path / "b.yaml"
    file.write_text("tests: [{kind: minimum, label: positive, texts: [zzz], allow: 1}]")
    words = ["gate.min_behavior=0", f"gate.behavior_file={file}"]
    assert check(
        judge(load_rules("none", words), "none", contender("good"), None), "behavior"
    ).passed


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
    assert "the same 234 test rows" in found.detail
    assert "McNemar p = " in found.detail
    better = judge(GateConfig(max_drop=0.0), "d", contender("good"), contender("poor"))
    assert check(better, "significance").passed
    assert check(better, "max_drop").passed


def test_other_test_rows_are_scored_by_both(contender: Callable[..., Contender]) -> None:
    rules = GateConfig(min_rows=50)
    result = judge(rules, "d", contender("elsewhere"), contender("poor"))
    found = check(result, "significance")
    assert found.passed
    assert "scored now by both" in found.detail
    refused = judge(rules, "d", contender("poor"), contender("elsewhere"))
    assert not check(refused, "significance").passed


def test_rows_that_the_champion_has_learned_from_do_not_count(
    contender: Callable[..., Contender],
) -> None:
    candidate, champion = contender("elsewhere"), contender("good")
    split = loading.load(*_settings(candidate)).splits.test
    seen = set(loading.load(*_settings(champion)).splits.seen().tolist())
    left = sum(row not in seen for row in hashes.row_hashes(split.texts).tolist())
    assert 50 < left < len(split) / 2
    found = check(judge(GateConfig(min_rows=50), "d", candidate, champion), "significance")
    assert f"{left} of {len(split)} (the others one of them has learned from)" in found.detail


def test_too_few_rows_are_not_paired_and_that_is_said(contender: Callable[..., Contender]) -> None:
    rules = GateConfig(min_rows=200)
    same = judge(rules, "d", contender("elsewhere"), contender("good"))
    assert check(same, "significance").passed
    detail = check(same, "significance").detail
    assert "each on its own test rows" in detail
    assert "rows remain that neither has learned from, fewer than 200" in detail
    assert "Fisher's exact test, unpaired" in detail
    worse = judge(rules, "d", contender("poor"), contender("elsewhere"))
    assert not check(worse, "significance").passed


def test_a_run_that_did_not_log_its_rows_has_them_made_again(
    contender: Callable[..., Contender],
) -> None:
    def older(name: str) -> Contender:
        made = contender(name)
        return dataclasses.replace(
            made, run_file=lambda file: None if file == hashes.FILE_NAME else made.run_file(file)
        )

    rules = GateConfig(min_rows=50)
    expected = judge(rules, "d", contender("elsewhere"), contender("good"))
    found = judge(rules, "d", older("elsewhere"), older("good"))
    assert check(found, "significance") == check(expected, "significance")


def _relabel(contender: Contender, labels: list[str], positive: str | None) -> Contender:
    scorer = copy(contender.load())
    scorer.labels, scorer.positive_label = tuple(labels), positive
    return dataclasses.replace(contender, load=lambda: scorer)


@pytest.mark.parametrize(
    ("labels", "positive", "said"),
    [
        (["bug", "praise", "question"], None, "its labels are bug, praise, question"),
        (["positive", "negative"], "positive", "stand in the order positive, negative"),
        (["negative", "positive"], "negative", "its positive label is 'negative'"),
    ],
)
def test_a_model_of_another_task_is_refused_without_leave(
    contender: Callable[..., Contender], labels: list[str], positive: str | None, said: str
) -> None:
    candidate = _relabel(contender("good"), labels, positive)
    refused = judge(GateConfig(), "d", candidate, contender("other"))
    assert refused.other_labels
    assert said in check(refused, "labels").detail
    allowed = judge(
        GateConfig(), "d", candidate, contender("other"), other_labels="we sort tickets now"
    )
    assert allowed.passed
    assert "allowed: we sort tickets now" in check(allowed, "labels").detail


def test_test_rows_whose_labels_have_turned_are_refused(
    contender: Callable[..., Contender], tmp_path: Path
) -> None:
    good = contender("good")
    frame = pl.read_parquet(good.run_file("test_predictions.parquet") or tmp_path)
    turned = frame.with_columns(
        label=pl.when(pl.col("row") % 10 == 0)
        .then(
            pl.when(pl.col("label") == "positive")
            .then(pl.lit("negative"))
            .otherwise(pl.lit("positive"))
        )
        .otherwise("label")
    )
    turned.write_parquet(tmp_path / "test_predictions.parquet")
    files = {"test_predictions.parquet": tmp_path / "test_predictions.parquet"}
    candidate = dataclasses.replace(
        good, run_file=lambda name: files.get(name) or good.run_file(name)
    )
    found = check(judge(GateConfig(), "d", candidate, contender("other")), "relabelled")
    assert not found.passed
    assert f"24 of the {len(frame)} test rows" in found.detail
    assert check(judge(GateConfig(), "d", good, contender("other")), "relabelled").passed


@pytest.mark.slow
def test_an_equal_model_is_refused_in_at_most_one_of_twenty_cases(
    contender: Callable[..., Contender], tmp_path: Path
) -> None:
    """The decision on figures drawn at random: what the files say is real, the answers are not."""
    rng = np.random.default_rng(4)
    rows, refused, caught = 400, 0, 0
    file = tmp_path / "test_predictions.parquet"
    truth = np.where(rng.random(rows) < 0.5, "negative", "positive")
    digests = [hashlib.sha256(bytes([n // 256, n % 256])).hexdigest() for n in range(rows)]

    def answers(name: str, wrong: np.ndarray) -> Contender:
        other = np.where(truth == "negative", "positive", "negative")
        frame = pl.DataFrame(
            {
                "row": np.arange(rows),
                "text_sha256": digests,
                "label": truth,
                "predicted": np.where(wrong, other, truth),
                "probability_negative": 0.5,
                "probability_positive": 0.5,
            }
        )
        path = tmp_path / f"{name}.parquet"
        frame.write_parquet(path)
        made = contender(name, test_fingerprint="the same")
        files = {file.name: path, hashes.FILE_NAME: made.run_file(hashes.FILE_NAME)}
        return dataclasses.replace(made, run_file=files.get)

    rules = GateConfig(beat_majority=False, max={})
    for _ in range(60):
        hard = rng.random(rows) < 0.1  # rows that both tend to miss
        chance = np.where(hard, 0.6, 0.03)
        old, new = (
            answers("good", rng.random(rows) < chance),
            answers("other", rng.random(rows) < chance),
        )
        refused += not judge(rules, "d", new, old).passed
        worse = answers("other", rng.random(rows) < np.minimum(chance + 0.08, 1))
        caught += not judge(rules, "d", worse, old).passed
    assert refused <= 3
    assert caught >= 57


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
    found = check(judge(GateConfig(), "d", changed, contender("poor")), "significance")
    assert "no longer the ones" in found.detail
    assert "unpaired" in found.detail


def test_caps_on_size_and_latency(contender: Callable[..., Contender]) -> None:
    tight = GateConfig(significance=None, max_latency_ms=0.0, max_size_mb=0.000001)
    result = judge(tight, "d", contender("good"), None)
    assert not check(result, "latency_ms").passed
    assert not check(result, "size_mb").passed
    wide = GateConfig(significance=None, max_latency_ms=1e6, max_size_mb=1e6)
    assert judge(wide, "d", contender("good"), None).passed
