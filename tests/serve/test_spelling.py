"""What a phone or a page wrote gets the answer of what was typed, through every door."""

from __future__ import annotations

import html
import io
import json
import unicodedata
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc.scoring_server import predictions_to_json

from sentiment import config
from sentiment.scorer import Scorer
from sentiment.tracking import client as tracking
from sentiment.training.run import train

TYPED = "I don't like this \"café\" film - it isn't good... हिन्दी & naïve <b>😀</b>"
TEXTS = [
    TYPED,
    TYPED.replace("'", "’").replace(' "', " “").replace('" ', "” "),
    TYPED.replace(" - ", " — ").replace("...", "…").replace(" ", "\u00a0"),
    html.escape(TYPED),
    html.escape(html.escape(TYPED)),
    unicodedata.normalize("NFD", TYPED),
    TYPED.replace("don", "d\u200bo\u00adn").replace("😀", "😀\ufe0f"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    here = tmp_path_factory.mktemp("spelling")
    words = ["experiment=quick", "data.sample_size=300", f"output_dir={here}"]
    result = train(config.compose(words))
    client = tracking.connect(here)
    (model,) = client.get_run(result.run_id).outputs.model_outputs
    return (
        here,
        Path(result.model) / "scorer",
        client.get_logged_model(model.model_id).artifact_location,
    )


@pytest.fixture(scope="module")
def expected(trained):
    """What the scorer says of the typed text."""
    return Scorer.load(trained[1]).predict_one(TYPED).probabilities[1]


def test_apostrophes_matter_to_the_model(trained, expected):
    """Or else the tests here could not fail."""
    scorer = Scorer.load(trained[1])
    assert scorer.predict_one(TYPED.replace("'", " ")).probabilities[1] != expected


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_batches(trained, expected, n):
    scorer = Scorer.load(trained[1])
    for text in TEXTS:
        found = scorer.predict([text] * n).probabilities[:, 1]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
        assert scorer.predict_one(text).probabilities[1] == pytest.approx(expected, abs=1e-9)


def test_command_and_file(trained, expected, cli, tmp_path):
    told = cli("predict", *TEXTS, "--json", "--output-dir", trained[0])
    assert told.code == 0
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert [row["probabilities"]["positive"] for row in rows] == pytest.approx(
        [expected] * len(TEXTS), abs=1e-9
    )
    given, made = tmp_path / "given.jsonl", tmp_path / "made.jsonl"
    given.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    done = cli("predict", "--input", given, "--output", made, "--output-dir", trained[0])
    assert done.code == 0
    found = [json.loads(line) for line in made.read_text().splitlines()]
    assert [row["probabilities"]["positive"] for row in found] == pytest.approx(
        [expected] * len(TEXTS), abs=1e-6
    )


def test_http(trained, expected, server_class):
    running = server_class(trained[0]).ready()
    try:
        together = running.post("/predict/batch", {"texts": TEXTS}).json()
        alone = [running.post("/predict", {"text": text}).json() for text in TEXTS]
    finally:
        running.stop()
        running.forget()
    for row in [*alone, *together["predictions"]]:
        assert row["probabilities"]["positive"] == pytest.approx(expected, abs=1e-6)


def test_mlflow(trained, expected):
    found = mlflow.pyfunc.load_model(trained[2]).predict(pd.DataFrame({"text": TEXTS}))
    np.testing.assert_allclose(found["probability_positive"], expected, rtol=0, atol=1e-9)


def test_an_explanation_has_one_shape(trained, server_class, cli):
    texts = [TYPED, "zqxj"]
    running = server_class(trained[0]).ready()
    try:
        served = [running.post("/explain", {"text": text}).json() for text in texts]
    finally:
        running.stop()
        running.forget()
    for text, answer in zip(texts, served, strict=True):
        printed = cli("explain", text, "--json", "--output-dir", trained[0]).document
        del answer["model_version"], answer["processing_time_ms"]
        answer["label"] = answer.pop("sentiment")
        assert printed == answer
    assert [answer["note"] for answer in served] == [None, "no known word"]


def test_mlflow_serves_the_columns_of_the_service(trained, server_class):
    model = mlflow.pyfunc.load_model(trained[2])
    texts = [TYPED, None, "zqxj", "film"]
    running = server_class(trained[0]).ready()
    try:
        for params in ({}, {"min_confidence": 0.99}):
            body = {"dataframe_records": [{"text": text} for text in texts], "params": params}
            served = running.post("/invocations", body).json()["predictions"]
            table = model.predict(pd.DataFrame({"text": texts}, dtype=object), params=params)
            assert list(table) == list(served[0])
            # as MLflow's own server writes a table
            written = io.StringIO()
            predictions_to_json(table, written)
            # of a number that there is not it writes NaN, which JSON does not know
            own = json.loads(written.getvalue(), parse_constant=lambda _: None)["predictions"]
            for mine, theirs in zip(own, served, strict=True):
                for name, value in theirs.items():
                    assert mine[name] == (pytest.approx(value, abs=1e-9) if value else value), name
    finally:
        running.stop()
        running.forget()
    assert [row["note"] for row in served] == ["abstained", "no text", "abstained", "abstained"]
    assert served[0]["would_be"] in ("negative", "positive")
