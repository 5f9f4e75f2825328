"""The forms of the API against a real server: the same numbers in each, and every refusal."""

from __future__ import annotations

import json
import re

import pytest
from support.web import HTTP

import sentiment
from sentiment.scorer import Scorer
from sentiment.store import resolve

GOOD = "A wonderful film: moving, funny and beautifully acted. I loved every minute."
BAD = "Awful. A boring waste of time with a terrible script and wooden acting."


@pytest.fixture(scope="module")
def scorer(store):
    return Scorer.load(resolve("champion", store).path)


def test_predict_answers_with_every_field(server, scorer):
    answer = server.post("/predict", {"text": GOOD})
    assert answer.status_code == 200
    document = answer.json()
    expected = scorer.predict_one(GOOD)
    assert set(document) == {
        *("text", "sentiment", "confidence", "probabilities", "model_version"),
        *("prediction_id", "processing_time_ms", "timestamp", "note", "would_be"),
    }
    assert document["note"] is None
    assert document["text"] == GOOD
    assert document["sentiment"] == expected.label == "positive"
    assert document["confidence"] == expected.confidence
    assert document["probabilities"] == dict(
        zip(scorer.labels, expected.probabilities, strict=True)
    )
    assert document["model_version"] == "1"
    assert document["processing_time_ms"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", document["timestamp"])


def test_a_text_without_a_known_word_is_noted(server):
    strange = "qwxzy zzyzx"
    assert server.post("/predict", {"text": strange}).json()["note"] == "no known word"
    assert server.post("/explain", {"text": strange}).json()["note"] == "no known word"
    assert server.post("/explain", {"text": GOOD}).json()["note"] is None
    texts = [GOOD, strange, " "]
    rows = server.post("/predict/batch", {"texts": texts}).json()["predictions"]
    assert [row["note"] for row in rows] == [None, "no known word", "no known word"]


def test_every_form_gives_the_same_numbers(server, scorer):
    texts = [GOOD, BAD, "", "Grüße 🎬 <br /> naïve"]
    expected = scorer.predict(texts)
    probabilities = expected.probabilities.tolist()

    batch = server.post("/predict/batch", {"texts": [GOOD, BAD]}).json()
    assert [entry["sentiment"] for entry in batch["predictions"]] == expected.labels[:2]
    assert [list(e["probabilities"].values()) for e in batch["predictions"]] == probabilities[:2]
    assert batch["total_processing_time_ms"] > 0
    assert "processing_time_ms" not in batch["predictions"][0]
    assert len({entry["prediction_id"] for entry in batch["predictions"]}) == 2

    tensor = {"name": "text", "datatype": "BYTES", "shape": [4, 1], "data": texts}
    v2 = server.post("/v2/models/reviews/infer", {"id": "7", "inputs": [tensor]}).json()
    label, numbers = v2["outputs"]
    assert (v2["id"], v2["model_name"], v2["model_version"]) == ("7", "reviews", "1")
    assert (label["datatype"], label["shape"], label["data"]) == ("BYTES", [4], expected.labels)
    assert (numbers["datatype"], numbers["shape"]) == ("FP64", [4, 2])
    assert numbers["data"] == [value for row in probabilities for value in row]
    assert numbers["parameters"]["labels"] == list(scorer.labels)

    forms = [
        {"inputs": texts},
        {"instances": texts},
        {"inputs": {"text": texts}},
        {"dataframe_records": [{"text": text} for text in texts]},
        {"dataframe_split": {"columns": ["id", "text"], "data": [[1, text] for text in texts]}},
    ]
    for form in forms:
        rows = server.post("/invocations", form).json()["predictions"]
        assert [row["label"] for row in rows] == expected.labels
        assert [row["probability_positive"] for row in rows] == [row[1] for row in probabilities]

    one = server.post("/explain", {"text": GOOD}).json()
    assert list(one["probabilities"].values()) == probabilities[0]


def test_a_long_text_and_a_large_batch_leave_the_loop_and_agree(server, scorer):
    long = (GOOD + " " + BAD + " ") * 100
    answer = server.post("/predict", {"text": long}).json()
    assert list(answer["probabilities"].values()) == list(scorer.predict_one(long).probabilities)
    assert len(answer["text"]) == 200
    assert long.startswith(answer["text"][:-1])
    texts = [f"{text} {number}" for number in range(250) for text in (GOOD, BAD)]
    answers = server.post("/predict/batch", {"texts": texts}).json()["predictions"]
    expected = scorer.predict(texts).probabilities.tolist()
    assert [list(entry["probabilities"].values()) for entry in answers] == expected


def test_explain_adds_up_and_points_into_the_text(server):
    text = "Good 🎬 acting, but a boring, boring story."
    document = server.post("/explain", {"text": text}).json()
    for label in ("negative", "positive"):
        total = document["intercept"][label] + document["rest"][label]
        total += sum(part["contribution"][label] for part in document["contributions"])
        assert total == pytest.approx(document["scores"][label])
    boring = next(part for part in document["contributions"] if part["ngram"] == "boring")
    assert boring["count"] == 2
    assert [text[start:end] for start, end in boring["spans"]] == ["boring", "boring"]
    top = server.post("/explain", {"text": text, "top": 1}).json()
    assert len(top["contributions"]) == 1
    assert top["scores"] == document["scores"]


def test_model_info_tells_what_is_served(server, store):
    champion = resolve("champion", store)
    info = server.get("/model/info").json()
    assert info["digest"] == champion.digest
    assert (info["name"], info["version"]) == ("reviews", "1")
    assert info["labels"] == ["negative", "positive"]
    assert info["metrics"] == {"accuracy": 0.8}
    assert info["training_data"]["name"] == "reviews"
    assert info["created"] == champion.info["created"]


def test_health_says_it_can_serve(server):
    for path in ("/health", "/health/ready"):
        answer = server.get(path)
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "healthy",
            "model_loaded": True,
            "model_version": "1",
            "model_files_intact": True,
        }
    assert server.get("/health/live").json() == {"status": "alive"}
    assert server.get("/ping").status_code == 200
    assert server.get("/version").text == sentiment.__version__


def test_open_inference_protocol_describes_itself(server):
    assert server.get("/v2/health/live").json() == {"live": True}
    assert server.get("/v2/health/ready").json() == {"ready": True}
    assert server.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    for path in ("/v2/models/reviews", "/v2/models/sentiment/versions/1"):
        metadata = server.get(path).json()
        assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
        assert [output["name"] for output in metadata["outputs"]] == ["label", "probabilities"]
    assert server.get("/v2/models/reviews/ready").json() == {"name": "reviews", "ready": True}
    only = {
        "inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": [GOOD]}],
        "outputs": [{"name": "label", "parameters": {"binary_data": False}}],
    }
    outputs = server.post("/v2/models/reviews/versions/1/infer", only).json()["outputs"]
    assert [output["name"] for output in outputs] == ["label"]


JSON = {"Content-Type": "application/json"}


TYPE = "unsupported_media_type"


def typed(content_type: str) -> dict[str, str]:
    return {"Content-Type": content_type}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code", "field"),
    [
        ("/predict", b"{", JSON, 400, "invalid_json", None),
        ("/predict", b"", JSON, 400, "invalid_json", None),
        ("/predict", b'{"text": "\xff\xfe"}', JSON, 400, "invalid_json", None),
        ("/predict", b'"text"', JSON, 422, "invalid_input", "body"),
        ("/predict", b"{}", JSON, 422, "invalid_input", "text"),
        ("/predict", b'{"text": null}', JSON, 422, "invalid_input", "text"),
        ("/predict", b'{"text": ""}', JSON, 422, "invalid_input", "text"),
        ("/predict", b'{"text": ["a"]}', JSON, 422, "invalid_input", "text"),
        ("/predict", b'{"text":"' + b"a" * 100_001 + b'"}', JSON, 422, "invalid_input", "text"),
        ("/predict/batch", b'{"texts": []}', JSON, 422, "invalid_input", "texts"),
        ("/predict/batch", b'{"texts": ["a", 1]}', JSON, 422, "invalid_input", "texts.1"),
        ("/predict/batch", json.dumps({"texts": ["a"] * 1001}).encode(), JSON, 422, "invalid_input", "texts"),
        ("/explain", b'{"text": "a", "top": 0}', JSON, 422, "invalid_input", "top"),
        ("/predict", b"[" * 100_000, JSON, 400, "invalid_json", None),
        ("/predict", b" " * (16 * 1024 * 1024 + 1), JSON, 413, "body_too_large", None),
        ("/predict", b"text=good", typed("application/x-www-form-urlencoded"), 415, TYPE, None),
        ("/predict", b'{"text": "a"}', typed("text/plain"), 415, TYPE, None),
        ("/predict", b'{"text": "a"}', typed("application/json; charset=latin-1"), 415, TYPE, None),
        ("/predict", b'{"text": "a"}', {}, 415, TYPE, None),
        ("/nothing", b"{}", JSON, 404, "not_found", None),
        ("/health", b"{}", JSON, 405, "method_not_allowed", None),
        ("/invocations", b'{"inputs": ["a"], "instances": ["a"]}', JSON, 422, "invalid_input", "body"),
        ("/invocations", b'{"dataframe_split": {"columns": ["a", "b"], "data": []}}', JSON, 422,
         "invalid_input", "dataframe_split"),
        ("/invocations", b'{"dataframe_records": [{"text": [3]}]}', JSON, 422, "invalid_input",
         "dataframe_records.0"),
        ("/invocations", b"text\na\n", typed("text/xml"), 415, TYPE, None),
    ],
)  # fmt: skip
def test_refusals_have_one_shape(server, path, body, headers, status, code, field):
    answer = HTTP.post(server.url + path, content=body, headers=headers, timeout=30)
    assert answer.status_code == status
    document = answer.json()
    assert document["code"] == code
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["message"] == document["error"]
    assert "\n" not in document["message"]
    if field:
        assert document["fields"][0]["field"] == field
    assert set(document) <= {"code", "message", "error", "request_id", "fields"}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"datatype": "FP32", "data": ["a"]}, 422),
        ({"shape": [2]}, 422),
        ({"shape": [1, 2]}, 422),
        ({"data": None}, 422),
        ({"data": [1]}, 422),
        ({"parameters": {"binary_data_size": 5}, "data": None}, 422),
    ],
)
def test_tensors_that_do_not_fit_are_refused(server, change, status):
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"], **change}
    answer = server.post("/v2/models/reviews/infer", {"inputs": [tensor]})
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)


def test_a_binary_tensor_that_is_not_described_is_refused(server):
    answer = HTTP.post(
        f"{server.url}/v2/models/reviews/infer",
        content=b'{"inputs":[]}\x01\x00\x00\x00a',
        headers={"Inference-Header-Content-Length": "13"},
    )
    assert answer.status_code == 422


def test_unknown_models_and_versions_are_not_found(server):
    for path in (
        "/v2/models/other",
        "/v2/models/reviews/versions/2",
        "/v2/models/reviews/versions",
    ):
        assert server.get(path).status_code == 404


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"cut \ud83d", "cut �"),
        (rb"cut \ude00 cut", "cut � cut"),
        (rb"whole \ud83d\ude00", "whole \U0001f600"),
        (rb"both \ud83d\ud83d\ude00", "both �\U0001f600"),
        (rb"no escape \\ud83d", r"no escape \ud83d"),
        (rb"nul \u0000 tab \t", "nul \0 tab \t"),
    ],
)
def test_half_characters_become_the_replacement_character(server, sent, read):
    answer = HTTP.post(f"{server.url}/predict", content=b'{"text":"%b"}' % sent, headers=JSON)
    assert answer.status_code == 200
    assert answer.json()["text"] == read


def test_request_ids_go_in_and_out(server):
    own = server.post("/predict", {"text": GOOD}, headers={"X-Request-ID": "abc-123"})
    assert own.headers["x-request-id"] == "abc-123"
    for bad in ("a b", "x" * 200, 'a"b', "<script>"):
        answer = server.get("/health", headers={"X-Request-ID": bad})
        assert re.fullmatch("[0-9a-f]{24}", answer.headers["x-request-id"])


def test_every_answer_has_the_security_headers(server):
    for path in (
        "/",
        "/docs",
        "/health",
        "/metrics",
        "/nothing",
        "/openapi.json",
        "/assets/page.js",
    ):
        headers = server.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers


def test_the_access_log_is_json_without_the_text(server):
    secret = "Zanzibar is what nobody may read in a log"
    sent = server.post("/predict", {"text": secret}, headers={"X-Request-ID": "log-me"})
    server.get("/nowhere/%0A%22x?q=Zanzibar")
    assert sent.status_code == 200
    server.wait_for(lambda: any("nowhere" in str(record) for record in server.records))
    assert "Zanzibar" not in server.log
    line = next(record for record in server.records if record.get("request_id") == "log-me")
    assert line["event"] == "request"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/predict", 200)
    assert line["model"] == "1"
    assert line["milliseconds"] > 0
    assert all(json.loads(record) for record in server.log.splitlines())


def test_documentation_needs_nothing_from_outside(server):
    for path in ("/docs", "/redoc"):
        page = server.get(path)
        assert page.status_code == 200
        assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert assets
        assert all(asset.startswith("/") for asset in assets)
        for asset in assets:
            assert server.get(asset).status_code == 200


def test_openapi_has_examples_and_documents_every_error(server):
    document = server.get("/openapi.json").json()
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    assert {path for path, _, _ in operations} >= {
        *("/predict", "/predict/batch", "/explain", "/health", "/health/live", "/health/ready"),
        *("/metrics", "/model/info", "/invocations", "/ping", "/version", "/v2"),
        "/v2/models/{name}/infer",
    }
    schemas = document["components"]["schemas"]
    for path, method, operation in operations:
        assert "500" in operation["responses"], path
        if method == "post":
            expected = {"200", "400", "413", "415", "422", "503"}
            expected |= {"504"} if operation["tags"] != ["feedback"] else set()
            assert expected <= set(operation["responses"]), path
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            assert schemas[name.rsplit("/", 1)[1]]["examples"], path
    # what stands there as an example really works
    for path in ("/predict", "/predict/batch", "/explain", "/invocations"):
        reference = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        schema = schemas[reference["schema"]["$ref"].rsplit("/", 1)[1]]
        for example in schema["examples"]:
            assert server.post(path, example).status_code == 200
