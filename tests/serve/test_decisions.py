"""A model's decision is the same through every door: which label, and whether one is given."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import mlflow
import pandas as pd
import polars as pl
import pytest
from support.reviews import balanced

import sentiment
from sentiment import config
from sentiment.scorer import Scorer
from sentiment.tracking import client as tracking
from sentiment.training.run import train

pytestmark = pytest.mark.slow

RULES = {
    "threshold": ["decision=threshold", "decision.threshold=0.7", "decision.abstain.coverage=0.7"],
    "costs of a forest": [
        "decision=costs", "decision.costs.false_positive=4", "decision.abstain.confidence=0.6",
        "model=custom", "model._target_=sklearn.ensemble.RandomForestClassifier",
        "+model.n_estimators=20",
    ],
    "three labels": [
        "data=files", "data.train={here}/three.jsonl", "decision=threshold",
        "+decision.thresholds={{abstain: 0.9, None: 0.3, no: 0.25}}",
        "decision.abstain.confidence=0.35",
    ],
    "weighed, promised": [
        "model.class_weight={{negative: 4, positive: 1}}", "decision.abstain.max_error=0.3",
    ],
}  # fmt: skip
TEXTS, LABELS = balanced(60)


def three(text: str, label: str) -> str:
    """Return one of three names that could be taken for something else."""
    return "no" if len(text) % 3 == 0 else {"negative": "abstain", "positive": "None"}[label]


@pytest.fixture(scope="module", params=RULES)
def decided(request, tmp_path_factory):
    """Output folder, scorer, logged model and test predictions of a training with a rule."""
    here = tmp_path_factory.mktemp("decided")
    rows = [{"text": t, "label": three(t, label)} for t, label in zip(*balanced(500), strict=True)]
    (here / "three.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chosen = [word.format(here=here) for word in RULES[request.param]]
    words = ["experiment=quick", "data.sample_size=400", *chosen]
    result = train(config.compose([*words, f"output_dir={here}"]), draw=True)
    client = tracking.connect(here)
    run = client.get_run(result.run_id)
    (model,) = run.outputs.model_outputs
    return (
        here,
        Scorer.load(Path(result.model) / "scorer"),
        client.get_logged_model(model.model_id).artifact_location,
        Path(run.info.artifact_uri.removeprefix("file://")),
        result,
    )


def expected(scorer: Scorer, least: float) -> list[tuple[str | None, str | None]]:
    """Label and withheld label, from the probabilities alone."""
    decision, found = scorer.decision, scorer.predict(TEXTS)
    answers = []
    for row in found.probabilities.tolist():
        if decision.thresholds and len(row) == 2:
            best = int(row[1] >= decision.thresholds[1])
        elif decision.thresholds:
            worth = [p / threshold for p, threshold in zip(row, decision.thresholds, strict=True)]
            best = worth.index(max(worth))
        elif decision.costs:
            means = [
                sum(p * costs[answer] for p, costs in zip(row, decision.costs, strict=True))
                for answer in range(2)
            ]
            best = means.index(min(means))
        else:
            best = row.index(max(row))
        label = scorer.labels[best]
        answers.append((None, label) if row[best] < least else (label, None))
    return answers


def test_it_changes_labels(decided):
    """Or else the tests here could not fail."""
    _, scorer, _, _, result = decided
    found = scorer.predict(TEXTS)
    likeliest = [scorer.labels[i] for i in found.probabilities.argmax(axis=1)]
    assert found.labels != likeliest
    assert {"test_accuracy", "test_plain_accuracy"} <= set(result.metrics)
    assert scorer.document["format_version"] == 3
    assert {case["label"] for case in scorer.document["golden"]} <= set(scorer.labels)


def test_the_artifact_knows_how_much_of_the_validation_rows_it_answers(decided):
    _, scorer, _, _, result = decided
    reference = scorer.document["reference"]
    assert reference["name"] == "validation"
    assert 0 < reference["answered"] < reference["n"]
    assert reference["answered"] == round(result.metrics["val_coverage"] * reference["n"])


def test_one_and_many_agree(decided):
    _, scorer, *_ = decided
    many = scorer.predict(TEXTS)
    assert [scorer.predict_one(text).label for text in TEXTS] == many.labels
    assert [one.label for one in scorer.predict_each(TEXTS)] == many.labels
    assert [one.confidence for one in scorer.predict_each(TEXTS)] == pytest.approx(
        many.confidence.tolist(), abs=1e-12
    )


def test_commands_and_files(decided, cli, tmp_path):
    here, scorer, *_ = decided
    told = expected(scorer, scorer.decision.min_confidence)
    said = cli("predict", *TEXTS, "--json", "--output-dir", here).documents
    assert [(row["label"], row.get("would_be")) for row in said] == told
    for text, (label, withheld) in list(zip(TEXTS, told, strict=True))[:3]:
        why = cli("explain", text, "--json", "--output-dir", here).document
        assert (why["label"], why["note"]) == (label or withheld, "abstained" if withheld else None)
        shown = cli("explain", text, "--output-dir", here).out.splitlines()[0].split("\t")
        assert shown[0] == why["label"]
        assert shown[1] == f"{why['probabilities'][why['label']]:.4f}"
        assert shown[2:] == (["abstained"] if withheld else [])
    given = tmp_path / "given.jsonl"
    given.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    for kind in ("jsonl", "csv", "parquet"):
        made = tmp_path / f"made.{kind}"
        done = cli("predict", "--input", given, "--output", made, "--output-dir", here)
        assert done.code == 0, done.err
        if kind == "jsonl":
            rows = [json.loads(line) for line in made.read_text().rstrip().split("\n")]
        elif kind == "csv":
            rows = list(csv.DictReader(made.open(newline="")))
        else:
            rows = pl.read_parquet(made).to_dicts()
        assert [(row["label"] or None, row.get("would_be") or None) for row in rows] == told
    asked = cli(
        "predict", *TEXTS, "--json", "--min-confidence", 0.8, "--output-dir", here
    ).documents
    assert [(row["label"], row["would_be"]) for row in asked] == expected(scorer, 0.8)


def test_http(decided, server_class):
    here, scorer, *_ = decided
    told = expected(scorer, scorer.decision.min_confidence)
    running = server_class(here).ready()
    try:
        alone = [running.post("/predict", {"text": text}).json() for text in TEXTS]
        batch = running.post("/predict/batch", {"texts": TEXTS, "min_confidence": 0.8}).json()
        rows = running.post("/invocations", {"inputs": TEXTS}).json()["predictions"]
        tensor = {"name": "text", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}
        outputs = running.post("/v2/models/sentiment/infer", {"inputs": [tensor]}).json()["outputs"]
        sure = {"min_confidence": 0.8}
        asked_rows = running.post("/invocations", {"inputs": TEXTS, "params": sure}).json()
        asked_tensors = running.post(
            "/v2/models/sentiment/infer", {"inputs": [tensor], "parameters": sure}
        ).json()["outputs"]
        wrong = [
            running.post("/invocations", {"inputs": TEXTS, "params": {"min_confidence": "high"}}),
            running.post(
                "/v2/models/sentiment/infer",
                {"inputs": [tensor], "parameters": {"min_confidence": 2}},
            ),
        ]
        metrics = running.get("/metrics").text
        why = [running.post("/explain", {"text": text}).json()["note"] for text in TEXTS[:20]]
        refused = running.post("/predict", {"text": "x", "min_confidence": 1.5})
    finally:
        running.stop()
        running.forget()
    assert [(row["sentiment"], row["would_be"]) for row in alone] == told
    assert all((row["note"] == "abstained") == (row["sentiment"] is None) for row in alone)
    assert [(row["sentiment"], row["would_be"]) for row in batch["predictions"]] == expected(
        scorer, 0.8
    )
    assert [(row["label"], row["would_be"]) for row in rows] == told
    for tensors, answers in ((outputs, told), (asked_tensors, expected(scorer, 0.8))):
        found = {output["name"]: output["data"] for output in tensors}
        blank = [""] * len(TEXTS)  # of a model that withholds nothing
        pairs = zip(found["label"], found.get("would_be", blank), strict=True)
        assert [(label or None, withheld or None) for label, withheld in pairs] == answers
    assert [(row["label"], row["would_be"]) for row in asked_rows["predictions"]] == expected(
        scorer, 0.8
    )
    assert [answer.status_code for answer in wrong] == [422, 422]
    assert all("min_confidence" in answer.text for answer in wrong)
    assert "sentiment_predictions_total" in metrics
    assert [note == "abstained" for note in why] == [label is None for label, _ in told[:20]]
    assert refused.status_code == 422


def test_mlflow_and_the_api(decided):
    _, scorer, logged, artifacts, result = decided
    model, frame = mlflow.pyfunc.load_model(logged), pd.DataFrame({"text": TEXTS})
    for asked, least in ((None, scorer.decision.min_confidence), ({"min_confidence": 0.8}, 0.8)):
        table = model.predict(frame, params=asked)
        if "would_be" not in table:  # a model that withholds nothing
            table["would_be"] = None
        told = table[["label", "would_be"]].astype(object)
        told = told.where(told.notna(), None)
        assert list(told.itertuples(index=False, name=None)) == expected(scorer, least)
    with pytest.raises(Exception, match="min_confidence is 1.5"):
        model.predict(frame, params={"min_confidence": 1.5})
    # What the run says of its test rows is what the model makes of their probabilities.
    frame = pl.read_parquet(artifacts / "test_predictions.parquet")
    numbers = frame.select(pl.col("^probability_.*$")).to_numpy()
    names = [scorer.labels[i] for i in scorer.decision.best(numbers)]
    assert frame["predicted"].to_list() == names
    assert result.metrics["test_accuracy"] == pytest.approx(
        sum(a == b for a, b in zip(names, frame["label"], strict=True)) / len(names)
    )
    labels = LABELS
    if len(scorer.labels) == 3:
        labels = [three(text, label) for text, label in zip(TEXTS, LABELS, strict=True)]
    measured = sentiment.evaluate(scorer, TEXTS, labels)
    given = scorer.predict(TEXTS).labels
    assert measured["accuracy"] == pytest.approx(
        sum(a == b for a, b in zip(given, labels, strict=True)) / len(labels)
    )
    kept = json.loads((artifacts / "decision.json").read_text())
    assert kept["decision"] == json.loads(json.dumps(scorer.decision.to_dict()))
    page = (artifacts / "report.html").read_text()
    assert "How the decision was chosen" in page
    assert "dashed: chosen" in page
