"""The documented contract, tried out by a machine; and what Prometheus thinks of the metrics."""

from __future__ import annotations

import shutil
import subprocess

import pytest

GOOD = "A wonderful film: moving, funny and beautifully acted. I loved every minute."


# What no schema says: that one field's numbers fit the length of another.
UNSAID = ("inputs.0.shape: must be", "dataframe_split")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_schemathesis_finds_no_server_error_and_nothing_undocumented(server, mode):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        negative_data_rejection,
        positive_data_acceptance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        negative_data_rejection,
        positive_data_acceptance,
    ]
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode == "negative" and operation.method != "post":
            continue

        @settings(
            max_examples=25,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
        def attempt(case):
            response = case.call(base_url=server.url)
            refused = response.status_code == 422
            unsaid = refused and response.json()["message"].startswith(UNSAID)
            case.validate_response(response, checks=[*checks[:-1]] if unsaid else checks)

        attempt()
        tried += 1
    assert tried >= (20 if mode == "positive" else 6)


def tensor(**changes):
    return {"name": "x", "datatype": "BYTES", "shape": [1], "data": [GOOD], **changes}


@pytest.mark.parametrize(
    ("path", "body", "taken"),
    [
        ("/explain", {"text": GOOD, "top": 1.0}, True),
        ("/explain", {"text": GOOD, "top": None}, True),
        ("/explain", {"text": GOOD, "top": 1.5}, False),
        ("/explain", {"text": GOOD, "top": True}, False),
        ("/explain", {"text": GOOD, "top": "1"}, False),
        ("/invocations", {"inputs": [GOOD]}, True),
        ("/invocations", {"inputs": [GOOD], "instances": None, "params": {}}, True),
        ("/invocations", {"inputs": [GOOD], "instances": [GOOD]}, False),
        ("/invocations", {"inputs": [GOOD], "dataframe_records": [{}]}, False),
        ("/invocations", {"inputs": None}, False),
        ("/invocations", {"inputs": [GOOD, None]}, True),
        ("/invocations", {"instances": [None, GOOD]}, True),
        ("/invocations", {}, False),
        ("/invocations", {"dataframe_records": [{"a": GOOD}]}, True),
        ("/invocations", {"dataframe_records": [{"text": GOOD, "b": 1}]}, True),
        ("/invocations", {"dataframe_records": [{"a": GOOD, "b": 1}]}, False),
        ("/invocations", {"dataframe_records": [{"text": 1}, {"text": None}]}, True),
        ("/invocations", {"dataframe_records": [{"text": GOOD}, {"b": 1, "c": 2}]}, False),
        ("/invocations", {"dataframe_records": [{"text": [GOOD]}]}, False),
        ("/invocations", {"inputs": {"text": [GOOD, None, 1.5], "id": [1, 2, 3]}}, True),
        ("/invocations", {"inputs": {"id": [1, 2, 3], "b": GOOD}}, False),
        ("/invocations", {"inputs": [5]}, False),
        ("/invocations", {"dataframe_split": {"data": [[GOOD], [None], [True]]}}, True),
        ("/invocations", {"dataframe_split": {"data": [[{}]]}}, False),
        ("/invocations", {"dataframe_split": {"data": [[GOOD, GOOD]]}}, False),
        ("/invocations", {"dataframe_split": {"columns": ["a", "b"], "data": []}}, False),
        (
            "/invocations",
            {"dataframe_split": {"columns": ["a", "text"], "data": [[{}, GOOD]]}},
            True,
        ),
        (
            "/invocations",
            {"dataframe_split": {"columns": ["text", "text"], "data": [[GOOD, GOOD]]}},
            False,
        ),
        ("/explain", {"text": GOOD, "top": 0}, False),
        ("/v2/models/{name}/infer", {"inputs": [tensor(shape=[-1])]}, False),
        ("/v2/models/{name}/infer", {"inputs": [tensor(shape=[2, 2], data=[GOOD] * 4)]}, False),
        (
            "/v2/models/{name}/infer",
            {"inputs": [tensor(shape=[2, 1], data=[[GOOD], [GOOD]])]},
            True,
        ),
        ("/v2/models/{name}/infer", {"inputs": [tensor()]}, True),
        ("/v2/models/{name}/infer", {"inputs": [tensor(shape=[1.0])]}, True),
        ("/v2/models/{name}/infer", {"inputs": [tensor(shape=[True])]}, False),
        ("/v2/models/{name}/infer", {"inputs": [tensor(data=None)]}, False),
    ],
)
def test_openapi_says_what_the_service_takes(server, path, body, taken):
    jsonschema = pytest.importorskip("jsonschema")
    document = server.get("/openapi.json").json()
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    judge = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    name = server.get("/model/info").json()["name"]
    answer = server.post(path.replace("{name}", name), body)
    assert answer.status_code == (200 if taken else 422), answer.text
    assert judge.is_valid(body) == taken


def test_promtool_is_content_with_the_metrics(server):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    server.post("/predict", {"text": GOOD})
    text = server.get("/metrics").text
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr + checked.stdout
    assert not checked.stderr.strip()


def test_known_series_start_at_zero(serve, store):
    server = serve(store).ready()
    text = server.get("/metrics").text
    for series in (
        'sentiment_predictions_total{sentiment="negative"} 0.0',
        'sentiment_predictions_total{sentiment="positive"} 0.0',
        'sentiment_errors_total{error_type="invalid_input"} 0.0',
        'sentiment_rejected_total{reason="overloaded"} 0.0',
        'sentiment_model_swaps_total{result="refused"} 0.0',
        "sentiment_prediction_latency_seconds_count 0.0",
        "sentiment_prediction_confidence_count 0.0",
        "sentiment_batch_size_count 0.0",
    ):
        assert series in text
    assert server.metric("sentiment_model_load_time_seconds") > 0
    assert server.metric("sentiment_workers") == 1
    assert server.metric("sentiment_model_info", name="reviews", version="1") == 1


def test_metrics_count_requests_texts_and_errors(serve, store):
    server = serve(store).ready()
    server.post("/predict", {"text": GOOD})
    server.post("/predict/batch", {"texts": [GOOD] * 10})
    server.post(
        "/v2/models/reviews/infer",
        {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [3], "data": [GOOD] * 3}]},
    )
    server.post("/predict", {"text": 1})
    server.get("/no/such/path/at/all")
    server.get("/v2/models/some-users-input")
    assert server.metric("sentiment_predictions_total", sentiment="positive") == 14
    assert server.metric("sentiment_prediction_latency_seconds_count") == 3
    assert server.metric("sentiment_prediction_confidence_count") == 14
    assert server.metric("sentiment_batch_size_sum") == 14
    assert server.metric("sentiment_errors_total", error_type="invalid_input") == 1
    assert server.metric("sentiment_errors_total", error_type="not_found") == 2
    requests = "sentiment_http_requests_total"
    assert server.metric(requests, route="/predict", method="POST", status="200") == 1
    assert server.metric(requests, route="/predict", method="POST", status="422") == 1
    assert server.metric(requests, route="unmatched", status="404") == 1
    assert server.metric(requests, route="/v2/models/{name}", status="404") == 1
    text = server.get("/metrics").text
    assert "some-users-input" not in text
    assert "/no/such" not in text


def test_of_several_forms_the_one_that_is_meant_is_told(server):
    answer = server.post("/invocations", {"inputs": [GOOD, {}]})
    assert answer.status_code == 422
    assert answer.json()["message"].startswith("inputs.1: ")
