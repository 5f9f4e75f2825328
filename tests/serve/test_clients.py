"""Requests as real clients make them: compressed, marked, typed, binary."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import zlib

import numpy as np
import pytest
from support.web import HTTP

GOOD = "A wonderful film: moving, funny and beautifully acted. I loved every minute."
BAD = "Awful. A boring waste of time with a terrible script and wooden acting."
JSON = {"content-type": "application/json"}


def send(server, path, content, **headers):
    return HTTP.post(
        server.url + path,
        content=content,
        headers={**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}},
        timeout=30,
    )


@pytest.fixture(scope="module")
def expected(server):
    return server.post("/predict", {"text": GOOD}).json()["probabilities"]


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda body: zlib.compress(body, wbits=-15)),
        ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
        ("identity", bytes),
    ],
)
def test_packed_bodies_are_read(server, expected, encoding, pack):
    body = json.dumps({"text": GOOD}).encode()
    answer = send(server, "/predict", pack(body), content_encoding=encoding)
    assert answer.status_code == 200, answer.text
    assert answer.json()["probabilities"] == expected


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip", b"not gzip", 400),
        ("gzip", gzip.compress(b'{"text": "a"}')[:-9], 400),
        ("gzip", gzip.compress(b'{"text": "' + b"a" * (17 << 20) + b'"}'), 413),
    ],
    ids=["unknown", "not packed", "cut", "too large"],
)
def test_what_cannot_be_unpacked_is_refused(server, encoding, body, status):
    answer = send(server, "/predict", body, content_encoding=encoding)
    assert answer.status_code == status
    assert answer.json()["message"]


def test_answers_are_packed_when_asked_for(server):
    texts = {"texts": [GOOD, BAD] * 20}
    plain = server.post("/predict/batch", texts, headers={"accept-encoding": "identity"})
    packed = server.post("/predict/batch", texts, headers={"accept-encoding": "br, gzip;q=0.5"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "accept-encoding"
    strip = lambda answer: [row["sentiment"] for row in answer.json()["predictions"]]  # noqa: E731
    assert strip(packed) == strip(plain)
    refused = server.post("/predict/batch", texts, headers={"accept-encoding": "gzip;q=0"})
    assert "content-encoding" not in refused.headers
    assert server.get("/metrics").headers["content-encoding"] == "gzip"


def test_prometheus_gets_openmetrics_when_it_asks(server):
    answer = server.get(
        "/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert "process_resident_memory_bytes" in answer.text
    assert "sentiment_worker_restarts_total 0" in answer.text


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf8", "application/json;odata.metadata=minimal",
        "application/json; format=pandas-split", 'application/json; charset="UTF-8"', "Application/JSON",
        "application/vnd.api+json",
    ],
)  # fmt: skip
def test_parameters_of_content_types_are_no_trouble(server, expected, kind):
    answer = send(
        server, "/predict", b"\xef\xbb\xbf" + json.dumps({"text": GOOD}).encode(), content_type=kind
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["probabilities"] == expected


def test_another_charset_is_refused(server):
    answer = send(server, "/predict", b"{}", content_type="application/json; charset=utf-16")
    assert answer.status_code == 415


def test_mlflow_takes_csv_and_nested_lists(server):
    label = server.post("/predict", {"text": GOOD}).json()["sentiment"]
    nested = server.post("/invocations", {"inputs": [[GOOD], [BAD]]})
    assert nested.json()["predictions"][0]["label"] == label
    table = f'text,n\n"{GOOD}",1\n"{BAD}",2\n'
    answer = send(server, "/invocations", table.encode(), content_type="text/csv; charset=utf-8")
    assert answer.json() == server.post("/invocations", {"inputs": [GOOD, BAD]}).json()
    assert send(server, "/invocations", b'"open', content_type="text/csv").status_code == 422


def test_cells_without_text_and_numbers_are_answered_as_mlflow_does(server):
    cells = [GOOD, None, 5, True, float("nan")]
    rows = server.post("/invocations", {"inputs": [GOOD, "5", "true"]}).json()["predictions"]
    frame = {"columns": ["id", "text"], "data": [[[n], cell] for n, cell in enumerate(cells)]}
    for body in (
        {"dataframe_split": frame},
        {"dataframe_records": [{"text": cell} for cell in cells]},
        {"inputs": {"text": cells}},
    ):
        answer = send(server, "/invocations", json.dumps(body).encode())
        found = answer.json()["predictions"]
        assert [found[0], found[2], found[3]] == rows
        assert found[1] == found[4]
        assert (found[1]["label"], found[1]["confidence"], found[1]["note"]) == (
            "",
            None,
            "no text",
        )
        assert found[1].keys() == found[0].keys()
    answer = send(
        server, "/invocations", f'text,n\n,1\n"{GOOD}",2\n'.encode(), content_type="text/csv"
    )
    assert [row["label"] == "" for row in answer.json()["predictions"]] == [True, False]


def strings(*texts):
    return b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)


@pytest.mark.parametrize("shape", [[2], [2, 1], [1, 2]])
@pytest.mark.parametrize("binary_in", [False, True])
@pytest.mark.parametrize("binary_out", [False, True])
def test_tensors_come_and_go_as_bytes(server, shape, binary_in, binary_out):
    name = server.get("/model/info").json()["name"]
    tensor = {"name": "text", "datatype": "BYTES", "shape": shape}
    data = b""
    if binary_in:
        data = strings(GOOD, BAD)
        tensor["parameters"] = {"binary_data_size": len(data)}
    else:
        tensor["data"] = [GOOD, BAD]
    document = {"inputs": [tensor], "parameters": {"binary_data_output": binary_out}}
    head = json.dumps(document).encode()
    extra = {"Inference_Header_Content_Length": str(len(head))} if binary_in else {}
    kind = "application/octet-stream" if binary_in else "application/json"
    answer = send(
        server,
        f"/v2/models/{name}/infer",
        head + data,
        content_type=kind,
        accept_encoding="identity",
        **extra,
    )
    assert answer.status_code == 200, answer.text
    plain = [
        row["probabilities"]
        for row in server.post("/invocations", {"inputs": [GOOD, BAD]}).json()["predictions"]
    ]
    wanted = [list(row.values()) for row in plain]
    if not binary_out:
        found = answer.json()["outputs"][1]["data"]
        np.testing.assert_allclose(np.reshape(found, (2, 2)), wanted, atol=1e-12)
        return
    end = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.content[:end])["outputs"]
    sizes = [output["parameters"]["binary_data_size"] for output in outputs]
    rest = answer.content[end:]
    assert len(rest) == sum(sizes)
    assert rest[: sizes[0]] == strings("positive", "negative")
    np.testing.assert_allclose(
        np.frombuffer(rest[sizes[0] :], "<f8").reshape(2, 2), wanted, atol=1e-12
    )


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"shape": [3]}, 422),
        ({"shape": [2, 2]}, 422),
        ({"parameters": {"binary_data_size": 5}}, 422),
        ({"datatype": "FP32"}, 422),
    ],
)
def test_tensors_that_do_not_fit_are_refused(server, change, status):
    name = server.get("/model/info").json()["name"]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [GOOD], **change}
    assert server.post(f"/v2/models/{name}/infer", {"inputs": [tensor]}).status_code == status


def test_what_is_not_supported_is_named(server):
    name = server.get("/model/info").json()["name"]
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [GOOD]}
    answer = server.post(
        f"/v2/models/{name}/infer",
        {"inputs": [tensor], "outputs": [{"name": "label", "parameters": {"classification": 2}}]},
    )
    assert answer.status_code == 422
    assert "classification" in answer.json()["message"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/models/x:predict", "v1 protocol"),
        ("/v1/models", "v1 protocol"),
        ("/v2/repository/index", "extension"),
        ("/v2/models/x/stats", "extension"),
        ("/v2/models/x/versions/1/config", "extension"),
        ("/v1/chat/completions", "nothing at this path"),
    ],
)
def test_what_related_protocols_have_is_refused_by_name(server, path, says):
    answer = server.post(path, {"instances": [GOOD]})
    assert answer.status_code == 404
    assert says in answer.json()["message"]


def test_grpc_is_refused_by_name(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert b"gRPC" in client.recv(1000)


def test_a_trace_goes_through(server):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = server.post("/predict", {"text": GOOD}, headers={"traceparent": trace})
    assert answer.headers["traceparent"] == trace
    server.wait_for(lambda: any(record.get("traceparent") == trace for record in server.records))
    answer = server.post("/predict", {"text": GOOD}, headers={"traceparent": 'x"y'})
    assert "traceparent" not in answer.headers


def test_a_foreign_host_is_copied_nowhere(server):
    answer = HTTP.get(
        server.url + "/docs/", headers={"host": "evil.example"}, follow_redirects=False
    )
    assert answer.status_code == 404
    assert "evil.example" not in str(answer.headers) + answer.text
