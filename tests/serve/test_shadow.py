"""A challenger in the shadow: it sees everything and costs nobody anything."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import time

import numpy as np
import psutil
import pytest
from support.reviews import balanced

from sentiment import shadow
from sentiment.scorer import Scorer
from sentiment.scorer.decision import Decision
from sentiment.store import list_models, read_pointer, resolve, set_pointer
from serve.model import ModelHolder
from serve.process.shadow import Shade
from serve.shadow import FRESH_SECONDS

from .conftest import BAD, GOOD, train_model

pytestmark = pytest.mark.slow

TEXTS = [GOOD, BAD, "It was fine, I suppose.", "Not bad at all.", "Too long, but a joy."]


def challenger_of(store) -> str:
    """The digest of the model that is no champion."""
    champion = read_pointer(store, "champion")["digest"]
    return next(m.digest for m in list_models(store) if m.digest != champion)


def set_challenger(store, digest: str, version: int = 2) -> None:
    set_pointer(store, "challenger", digest, name="reviews", version=version, source="test")


def compared(server, n: int) -> dict:
    """What the shadow says once it has seen n texts."""

    def found():
        document = server.get("/model/shadow").json()
        window = document.get("window")
        return document if window and window["texts"] >= n else None

    return server.wait_for(found)


def standing(server, status: str) -> dict | None:
    """What the service says of its challenger, once that has this status."""
    challenger = server.get("/model/shadow").json()["challenger"]
    return challenger if challenger["status"] == status else None


def shadows(server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in children if "serve.process.shadow" in child.cmdline()]


@pytest.fixture
def shadowed(own_store):
    set_challenger(own_store, challenger_of(own_store))
    return own_store


@pytest.mark.parametrize("workers", [1, 2])
def test_every_door_is_compared_and_people_s_answers_are_paired(serve, shadowed, workers):
    server = serve(
        shadowed, "--shadow", "challenger", "--workers", workers, feedback_key="k" * 32
    ).ready()
    answers = [server.post("/predict", {"text": text}).json() for text in TEXTS]
    server.post("/predict/batch", {"texts": TEXTS})
    server.post("/invocations", {"inputs": TEXTS})
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(TEXTS)], "data": TEXTS}
    server.post("/v2/models/reviews/infer", {"inputs": [tensor]})
    found = compared(server, 4 * len(TEXTS))

    # what the two models say, asked without any service
    models = {
        name: Scorer.load(resolve(name, shadowed).path) for name in ("champion", "challenger")
    }
    labels = {name: model.predict(TEXTS).labels for name, model in models.items()}
    same = np.mean([a == b for a, b in zip(*labels.values(), strict=True)])
    assert found["agreement"] == pytest.approx(same)
    assert found["challenger"]["status"] == "scoring"
    assert found["challenger"]["digest"] == challenger_of(shadowed)
    assert found["window"]["texts"] == 4 * len(TEXTS)
    for name, model in models.items():
        middle = np.sort(np.repeat(model.predict_proba(TEXTS)[:, 1], 4))
        assert found["scores"][name]["0.5"] == pytest.approx(middle[round(0.5 * (len(middle) - 1))])

    for answer in answers:
        truth = "positive"
        server.post("/feedback", {"prediction_id": answer["prediction_id"], "label": truth})

    def paired():
        feedback = server.get("/model/shadow").json()["feedback"]
        return feedback if feedback["texts"] == len(TEXTS) else None

    feedback = server.wait_for(paired)
    time.sleep(FRESH_SECONDS)  # each worker's figures may be so old
    right = {name: np.array([x == "positive" for x in given]) for name, given in labels.items()}
    assert feedback["champion_accuracy"] == pytest.approx(right["champion"].mean())
    assert feedback["challenger_accuracy"] == pytest.approx(right["challenger"].mean())
    assert feedback["only_challenger_right"] == int(
        (right["challenger"] & ~right["champion"]).sum()
    )
    assert server.metric("sentiment_shadow_up") == 1
    assert server.metric("sentiment_shadow_agreement_ratio") == pytest.approx(same)
    assert server.metric("sentiment_shadow_window_texts") == 4 * len(TEXTS)
    assert server.metric("sentiment_shadow_texts_total", result="scored") == 4 * len(TEXTS)
    # no text is kept unless that was asked for
    with sqlite3.connect(shadow.shadow_file(shadowed)) as database:
        assert (
            database.execute("SELECT count(*) FROM pairs WHERE text IS NOT NULL").fetchone()[0] == 0
        )
    assert len(shadows(server)) == workers
    assert server.stop() == 0
    assert "Traceback" not in server.log


def test_a_challenger_that_moves_breaks_or_dies_leaves_the_champion_alone(serve, shadowed):
    server = serve(shadowed, "--shadow", "challenger", "--reload-model", 0.2).ready()
    server.post("/predict/batch", {"texts": TEXTS})
    compared(server, len(TEXTS))

    # it moves: the figures begin anew, and say of whom they are
    champion = read_pointer(shadowed, "champion")["digest"]
    set_challenger(shadowed, champion, 3)
    server.wait_for(lambda: server.get("/model/shadow").json()["challenger"]["version"] == "3")
    server.post("/predict/batch", {"texts": TEXTS})
    found = compared(server, len(TEXTS))
    assert (found["same_model"], found["agreement"]) == (True, 1.0)

    # it breaks: what it was goes on, and that is said
    other = resolve(challenger_of(shadowed), shadowed)
    weights = other.path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    set_challenger(shadowed, other.digest, 4)
    refused = server.wait_for(lambda: standing(server, "refused"))
    assert "weights.safetensors" in refused["reason"]
    assert str(shadowed) not in refused["reason"]
    assert (refused["version"], server.metric("sentiment_shadow_up")) == ("3", 0)

    # it is taken back: all is well
    set_challenger(shadowed, champion, 3)
    server.wait_for(lambda: standing(server, "scoring"))

    # it dies: another takes its place, and nobody is told off meanwhile
    (process,) = shadows(server)
    process.kill()
    for _ in range(20):
        assert server.post("/predict", {"text": GOOD}).status_code == 200
    server.wait_for(lambda: [p for p in shadows(server) if p.pid != process.pid])
    assert "the shadow process ended" in server.log

    # nothing is left behind, whatever ends the service
    (process,) = shadows(server)
    server.process.kill()
    process.wait(10)


def test_a_challenger_that_stands_still_is_shown_less_and_each_text_is_counted(serve, shadowed):
    server = serve(shadowed, "--shadow", "challenger").ready()
    server.post("/predict", {"text": GOOD})
    compared(server, 1)
    (process,) = shadows(server)
    process.send_signal(signal.SIGSTOP)  # as slow as can be
    for _ in range(5):
        answer = server.post("/predict/batch", {"texts": TEXTS * 40})
        assert answer.status_code == 200
    assert server.metric("sentiment_shadow_dropped_total") > 0
    assert server.wait_for(lambda: standing(server, "behind"))["reason"]
    process.kill()  # what it was told and had not done is counted, too

    def accounted() -> float:
        scored = server.metric("sentiment_shadow_texts_total", result="scored")
        return scored + server.metric("sentiment_shadow_dropped_total")

    server.wait_for(lambda: accounted() == 1 + 5 * 40 * len(TEXTS))
    compared(server, 1)


@pytest.mark.parametrize("loss", ["removed", "damaged"])
def test_a_lost_file_of_pairs_is_begun_anew(serve, shadowed, loss):
    file = shadow.shadow_file(shadowed)
    if loss == "damaged":
        file.write_bytes(b"no database at all\n" * 1000)
    server = serve(shadowed, "--shadow", "challenger", "--reload-model", 0.2).ready()
    server.post("/predict/batch", {"texts": TEXTS})
    compared(server, len(TEXTS))
    if loss == "removed":
        for beside in shadowed.glob("shadow.db*"):
            beside.unlink()
        server.wait_for(lambda: "is gone: begun anew" in server.log)
        server.post("/predict/batch", {"texts": TEXTS})
        compared(server, len(TEXTS))
    assert len(list(shadowed.glob("shadow.damaged-*.db"))) == (loss == "damaged")
    assert "the shadow process ended" not in server.log


def test_no_challenger_yet_is_waited_for(serve, own_store):
    server = serve(own_store, "--shadow", "challenger", "--reload-model", 0.2).ready()
    assert "nothing in the shadow yet" in server.log
    assert server.get("/model/shadow").json()["challenger"]["status"] == "waiting"
    assert server.metric("sentiment_shadow_up") == 0
    set_challenger(own_store, challenger_of(own_store))
    server.wait_for(lambda: server.get("/model/shadow").json()["challenger"]["status"] == "scoring")
    bare = serve(own_store).ready()
    answer = bare.get("/model/shadow")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "--shadow" in answer.json()["message"]


def test_other_labels_are_compared_where_they_share_names(serve, own_store):
    other = train_model(own_store, 1.0, {"negative": "bad"})
    set_challenger(own_store, other.digest)
    server = serve(own_store, "--shadow", "challenger", shadow_texts=1).ready()
    server.post("/predict/batch", {"texts": TEXTS})
    counts = server.wait_for(
        lambda: (
            (found := server.get("/model/shadow").json()).get("window")
            and found["window"]["texts"] + found["window"]["not_comparable"] == len(TEXTS)
            and found
        )
    )
    assert counts["labels"] == {
        "shared": ["positive"], "champion_only": ["negative"], "challenger_only": ["bad"],
    }  # fmt: skip
    assert counts["window"]["not_comparable"] > 0
    # the texts of disagreements are kept when that was asked for
    texts = {row["text"] for row in counts["strongest"]}
    assert texts
    assert texts <= set(TEXTS)
    assert shadow.shadow_file(own_store).stat().st_mode & 0o077 == 0


def test_labels_are_compared_as_each_model_decides_and_what_it_withholds_is_counted(
    serve, own_store
):
    """The champion answers positive from 0.4 on, the challenger withholds what is unsure."""
    likely = Scorer.load(resolve("champion", own_store).path)
    rule = Decision(thresholds=[0.6, 0.4])
    champion = train_model(own_store, 1.0, decision=rule)
    challenger = train_model(own_store, 1.0, decision=Decision(min_confidence=0.6))
    set_pointer(own_store, "champion", champion.digest, name="reviews", version=5, source="test")
    set_challenger(own_store, challenger.digest, 6)
    texts = balanced(100)[0]
    server = serve(own_store, "--shadow", "challenger", "--reload-model", 0.2).ready()
    server.post("/predict/batch", {"texts": texts[:99]})
    server.post("/predict", {"text": texts[99]})
    found = compared(server, 100)
    said = likely.predict(texts)
    unsure = int((said.confidence < 0.6).sum())
    same = np.mean((said.probabilities[:, 1] >= 0.4) == (np.array(said.labels) == "positive"))
    assert 0 < same < 1
    assert found["agreement"] == pytest.approx(same)
    assert 0 < unsure < 100
    assert found["window"]["withheld"] == {"champion": 0, "challenger": unsure}
    # the other way round
    set_challenger(own_store, champion.digest, 7)
    set_pointer(own_store, "champion", challenger.digest, name="reviews", version=8, source="test")
    server.wait_for(
        lambda: (
            server.get("/model/info").json()["version"] == "8"
            and server.get("/model/shadow").json()["challenger"]["version"] == "7"
        )
    )
    server.post("/predict/batch", {"texts": texts[:99]})
    server.post("/predict", {"text": texts[99]})
    assert compared(server, 100)["window"]["withheld"] == {"champion": unsure, "challenger": 0}


def test_a_file_of_pairs_from_before_answers_were_withheld_goes_on(tmp_path):
    file = tmp_path / "shadow.db"
    said = 1.0, "f" * 16, "a" * 32, "b" * 32, "x", "y", 0.1, 0.9
    store = shadow.ShadowStore(file)
    store.add([shadow.Pair(*said, comparable=True)])
    store.close()
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("ALTER TABLE pairs DROP COLUMN withheld_champion")
        database.execute("ALTER TABLE pairs DROP COLUMN withheld_challenger")
    store = shadow.ShadowStore(file)
    store.add([shadow.Pair(*said, comparable=True, withheld_champion=True)])
    store.close()
    found = shadow.compare(file, "a" * 32, "b" * 32)
    assert (found.n, found.withheld) == (2, {"champion": 1, "challenger": 0})


def test_an_answer_that_comes_before_its_pair_waits_for_it(shadowed):
    """Two workers have a process each: one is told what a person said, the other still scores."""
    file = shadow.shadow_file(shadowed)
    slow, quick = (
        Shade(ModelHolder(shadowed, "challenger", 5.0), shadow.ShadowStore(file)) for _ in "ab"
    )
    slow.look()
    champion = Scorer.load(resolve("champion", shadowed).path)
    digest = read_pointer(shadowed, "champion")["digest"]
    text = {
        "at": 100.0, "champion": digest, "fingerprint": "f" * 16, "text": GOOD, "label": "positive",
        "labels": champion.labels, "probabilities": [0.1, 0.9], "withheld": False,
    }  # fmt: skip
    said = {"fingerprint": "f" * 16, "champion": digest[:32], "at": 100.0, "label": "positive"}
    quick.hear({"texts": [], "answers": [said]}, [].append)
    slow.hear({"texts": [text], "answers": []}, [].append)
    quick.look()
    found = shadow.compare(file, digest, challenger_of(shadowed))
    assert found.answered.n == 1
    assert found.answered.champion == 1.0
