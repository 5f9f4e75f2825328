"""The champion moves while requests come in."""

from __future__ import annotations

import shutil
import time

import pytest

from sentiment.errors import ModelNotFoundError
from sentiment.store import list_models, read_pointer, set_pointer
from serve.model import check_there
from serve.process.puller import Pullers
from serve.settings import load_settings

GOOD = "A wonderful film: moving, funny and beautifully acted. I loved every minute."


def test_what_a_registry_names_is_brought_by_processes_of_its_own(tmp_path):
    local = load_settings(model="champion", shadow="challenger", output_dir=tmp_path)
    assert Pullers(local).each == []
    remote = load_settings(
        model="models:/reviews@champion", shadow="models:/reviews/3", reload_model=2.5,
        output_dir=tmp_path,
    )  # fmt: skip
    words = [" ".join(puller.command[1:]) for puller in Pullers(remote).each]
    rest = f"--watch 2.5 --output-dir {tmp_path}"
    assert words == [
        f"-m sentiment models pull models:/reviews/3 --as challenger {rest}",
        f"-m sentiment models pull models:/reviews@champion {rest}",
    ]


def test_a_missing_model_is_said_before_anything_starts(tmp_path, own_store):
    for reference in (None, "champion", "latest", "challenger"):
        with pytest.raises(ModelNotFoundError):
            check_there(reference, tmp_path)
    check_there("models:/reviews@champion", tmp_path)  # will be brought
    check_there(None, own_store)
    (own_store / "models" / "champion.json").unlink()
    set_pointer(own_store, "latest", list_models(own_store)[0].digest, source="test")
    check_there(None, own_store)


def versions(answers) -> set[str]:
    return {answer.json().get("model_version") for answer in answers}


def replace(path, text: str) -> None:
    """Write a file as whoever moves a pointer does: a reader sees the old or the new, whole."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.replace(path)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_twenty_moves_under_load_fail_and_mix_nothing(serve, own_store, load, workers):
    first = read_pointer(own_store, "champion")["digest"]  # version 1
    (second,) = {model.digest for model in list_models(own_store)} - {first}
    server = serve(own_store, "--workers", workers, "--reload-model", 0.4).ready()
    with load(server, 6) as clients:
        for move in range(2, 22):
            digest = (second, first)[move % 2]
            set_pointer(own_store, "champion", digest, name="reviews", version=move, source="test")
            time.sleep(0.4)  # what --reload-model promises
        server.wait_for(
            lambda: server.metric("sentiment_model_info", version="21") == workers, seconds=5
        )
    assert not clients.lost, (clients.lost, server.log[-3000:])
    assert not clients.refused
    assert {answer.status_code for answer in clients.answers} == {200}
    seen = set()
    scores: dict[str, set[float]] = {}
    for answer in clients.answers:
        document = answer.json()
        rows = document.get("predictions", [document])
        answered_by = {row["model_version"] for row in rows}
        assert len(answered_by) == 1  # no batch by two models
        seen |= answered_by
        for row in rows:
            key = f"{row['text']} {int(row['model_version']) % 2}"
            scores.setdefault(key, set()).add(row["probabilities"]["positive"])
    assert len(seen) > 10
    # version 1 is the odd model: each text has one answer for each of the two models
    assert all(len(found) == 1 for found in scores.values())
    assert server.metric("sentiment_model_swaps_total", result="refused") == 0
    text = server.get("/metrics").text
    assert text.count("sentiment_model_info{") == 1
    assert "Traceback" not in server.log


def test_a_bad_model_is_refused_and_the_old_one_keeps_serving(serve, own_store):
    server = serve(own_store, "--reload-model", 0.2).ready()
    old = server.get("/model/info").json()
    other = next(m for m in list_models(own_store) if m.digest != old["digest"])
    weights = other.path / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    set_pointer(own_store, "champion", other.digest, name="reviews", version=2, source="test")
    server.wait_for(lambda: server.metric("sentiment_model_swaps_total", result="refused") == 1)
    assert server.get("/model/info").json()["digest"] == old["digest"]
    assert server.post("/predict", {"text": GOOD}).json()["model_version"] == "1"
    assert "model refused" in server.log

    # a pointer that is no pointer, then one to a model that is not there
    pointer = own_store / "models" / "champion.json"
    good = pointer.read_text()
    replace(pointer, "{")
    server.wait_for(lambda: server.metric("sentiment_model_swaps_total", result="refused") == 2)
    replace(pointer, good.replace(other.digest, "0" * 64))
    server.wait_for(lambda: server.metric("sentiment_model_swaps_total", result="refused") == 3)
    assert server.post("/predict", {"text": GOOD}).status_code == 200

    # mended, it is taken
    data[-100] ^= 1
    weights.write_bytes(data)
    replace(pointer, good)
    server.wait_for(lambda: server.get("/model/info").json()["digest"] == other.digest)
    assert server.metric("sentiment_model_swaps_total", result="success") == 1


def test_latest_serves_with_a_warning_until_there_is_a_champion(serve, own_store):
    (own_store / "models" / "champion.json").unlink()
    latest = read_pointer(own_store, "latest")["digest"]
    server = serve(own_store, "--reload-model", 0.2).ready()
    assert server.get("/model/info").json()["digest"] == latest
    assert "no champion is set" in server.log
    first = next(m.digest for m in list_models(own_store) if m.digest != latest)
    set_pointer(own_store, "champion", first, name="reviews", version=3, source="promote")
    server.wait_for(lambda: server.get("/model/info").json()["version"] == "3")
    # from now on the champion counts, not what is trained
    set_pointer(own_store, "latest", latest, source="train")
    time.sleep(0.6)
    assert server.get("/model/info").json()["digest"] == first


def test_a_scorer_directory_is_watched_too(serve, store, tmp_path):
    first, second = list_models(store)
    directory = tmp_path / "mine"
    shutil.copytree(first.path, directory)
    server = serve(tmp_path, "--model", directory, "--reload-model", 0.2).ready()
    assert server.get("/model/info").json()["digest"] == first.digest
    for name in ("weights.safetensors", "scorer.json"):
        shutil.copy(second.path / name, directory / f".{name}")
        (directory / f".{name}").replace(directory / name)
    server.wait_for(lambda: server.get("/model/info").json()["digest"] == second.digest)


def test_without_a_model_it_waits_or_says_what_to_do(serve, cli, train, tmp_path):
    refused = cli("serve", "--output-dir", tmp_path / "none")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "sentiment train" in refused.err
    assert cli("serve", "--model", "no-such", "--output-dir", tmp_path).code == 2

    server = serve(tmp_path / "later", "--wait", "--reload-model", 0.2)
    server.wait_for(lambda: server.get("/health/live").status_code == 200)
    health = server.get("/health")
    assert health.status_code == 503
    assert health.json()["code"] == "model_not_ready"
    assert health.json()["model_loaded"] is False
    for path, body in (("/predict", {"text": "a"}), ("/invocations", {"inputs": ["a"]})):
        answer = server.post(path, body)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
    assert server.get("/v2/health/ready").status_code == 503
    assert server.get("/ping").status_code == 503
    assert server.get("/model/info").status_code == 503
    model = train(tmp_path / "later", 1.0, {"negative": "bad", "positive": "good"})
    set_pointer(tmp_path / "later", "latest", model.digest, source="train")
    server.wait_for(lambda: server.get("/health").status_code == 200)
    assert server.post("/predict", {"text": GOOD}).json()["sentiment"] == "good"
    assert server.metric("sentiment_predictions_total", sentiment="good") == 1


def test_a_registry_reference_is_brought_by_a_child_process(serve, own_store, monkeypatch):
    """With the registry away, what was pulled before is served, and the child keeps trying."""
    import psutil

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    server = serve(own_store, "--model", "models:/reviews@champion").ready()
    assert server.get("/model/info").json()["version"] == "1"
    children = server.wait_for(lambda: psutil.Process(server.process.pid).children())
    assert children[0].cmdline()[-7:-1] == [
        *("models", "pull", "models:/reviews@champion", "--watch", "5", "--output-dir")
    ]
    assert server.stop() == 0
    assert not children[0].is_running()
