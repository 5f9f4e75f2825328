"""Promotion by what a challenger showed in the shadow of the champion."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from sentiment import store
from sentiment.registry import promotion
from sentiment.registry.evidence import judge_answers
from sentiment.registry.gate import load_rules
from sentiment.registry.promotion import Promotion
from sentiment.registry.registry import Registry
from sentiment.shadow import Answered, Challenger, Pair, ShadowStore, shadow_file

from .conftest import Cli, Trained

NONE = Promotion(load_rules("none"), "none")


@pytest.fixture
def rivals(outputs: Path, trained: Trained) -> tuple[str, str]:
    """Version 1 is champion, version 2 the challenger; their digests."""
    registry = Registry(outputs)
    promotion.register(registry, trained.runs["good"].run_id, promotion=NONE)
    promotion.register(registry, trained.runs["other"].run_id, alias="challenger")
    return trained.runs["good"].digest, trained.runs["other"].digest


def observe(outputs: Path, digests: tuple[str, str], *, both: int, first: int, second: int) -> None:
    """Write what a service would have seen: texts that both, or one alone, answered rightly."""
    shadow = ShadowStore(shadow_file(outputs))
    shadow.describe(Challenger("challenger", "scoring", digest=digests[1]))
    kinds = ["++"] * both + ["+-"] * first + ["-+"] * second
    now = time.time()
    names = {"+": "positive", "-": "negative"}
    pairs = [
        Pair(now, f"{place:016x}", *digests, names[a], names[b], 0.5, 0.5, comparable=True)
        for place, (a, b) in enumerate(kinds)
    ]
    shadow.add(pairs)
    for pair in pairs:
        assert shadow.answer(pair.fingerprint, digests[0][:32], now, "positive")
    shadow.close()


def test_an_alias_is_a_pointer_here_and_its_model_is_kept(
    outputs: Path, rivals: tuple[str, str], cli: Cli
) -> None:
    assert store.resolve("challenger", outputs).digest == rivals[1]
    assert store.resolve("challenger", outputs).version == "2"
    planned = json.loads(cli("models", "prune", "--json").out)
    needed = {model["digest"]: model["needed_by"] for model in planned["models"]}
    assert needed[rivals[1]]
    assert json.loads(cli("models", "show", "challenger", "--json").out)["digest"] == rivals[1]


def test_without_evidence_what_is_missing_is_said(
    outputs: Path, rivals: tuple[str, str], cli: Cli
) -> None:
    said = cli("models", "promote", "--from-shadow", "gate=none")
    assert said.code == 1
    assert "nothing was served in the shadow" in said.err
    observe(outputs, rivals, both=30, first=1, second=9)
    said = cli("models", "promote", "--from-shadow", "gate=none", "gate.min_rows=100")
    assert said.code == 1
    assert "60 more are needed" in said.err
    assert store.read_pointer(outputs, "champion")["digest"] == rivals[0]  # type: ignore[index]
    assert cli("models", "promote").code == 2


def test_a_better_challenger_is_promoted_and_the_history_tells_why(
    outputs: Path, rivals: tuple[str, str], cli: Cli
) -> None:
    observe(outputs, rivals, both=100, first=4, second=20)
    done = cli("models", "promote", "--from-shadow", "gate=none", "gate.min_rows=100", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["champion"]
    assert store.read_pointer(outputs, "champion")["digest"] == rivals[1]  # type: ignore[index]
    move = json.loads(cli("models", "history", "--alias", "champion", "--json").out)[-1]
    checks = {check["name"]: check for check in move["gate"]["checks"]}
    assert checks["shadow_rows"]["measured"] == 124
    assert checks["shadow_accuracy"]["passed"]
    assert checks["shadow_accuracy"]["measured"] == pytest.approx(0.0015, abs=0.0002)


def test_evidence_is_of_these_two_models_alone(
    outputs: Path, rivals: tuple[str, str], cli: Cli
) -> None:
    observe(outputs, (rivals[1], rivals[0]), both=100, first=0, second=40)  # the other way round
    said = cli("models", "promote", "2", "--from-shadow", "gate=none")
    assert said.code == 1
    assert "in the shadow 0 texts" in said.err


@pytest.mark.parametrize(
    ("answered", "says"),
    [
        (Answered(200, 180, 8, 12), "more answers of this kind would decide"),
        (Answered(200, 180, 12, 8), "no evidence that it is better"),
        (Answered(200, 200, 0, 0), "no evidence that it is better"),
        (Answered(200, 180, 8, 12, 3, 40), "it withholds 40 of its answers, the champion 3"),
    ],
)
def test_what_would_decide_is_said(answered: Answered, says: str) -> None:
    rows, accuracy = judge_answers(answered, 100, 0.05)
    assert rows.passed
    assert not accuracy.passed
    assert says in accuracy.detail
