"""Keys, origins, proxies, and what the service may import."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest

GOOD = "A wonderful film: moving, funny and beautifully acted. I loved every minute."
KEYS = "first-key-0123456789,second-key-0123456789"


@pytest.fixture(scope="module")
def guarded(store, server_class):
    """A server with two keys, one allowed origin and a prefix."""
    server = server_class(
        store,
        api_keys=KEYS,
        open_metrics="false",
        cors_origins="https://good.example",
        root_path="/sentiment",
        forwarded_allow_ips="127.0.0.1",
    )
    yield server.ready()
    server.stop()
    server.forget()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "second-key-0123456789"},
        {"Authorization": "Bearer first-key-0123456789"},
        {"authorization": "bearer first-key-0123456789"},
    ],
)
def test_either_key_in_either_header_opens(guarded, headers):
    assert guarded.post("/predict", {"text": GOOD}, headers=headers).status_code == 200
    assert guarded.get("/metrics", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "first-key-012345678"},
        {"X-API-Key": KEYS},
        {"Authorization": "Basic first-key-0123456789"},
    ],
)
def test_anything_else_is_refused(guarded, headers):
    for path in (
        "/predict",
        "/predict/batch",
        "/explain",
        "/invocations",
        "/v2/models/reviews/infer",
    ):
        answer = guarded.post(path, {"text": GOOD}, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["code"] == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/model/info", "/metrics", "/nothing", "/v2"):
        assert guarded.get(path, headers=headers).status_code == 401


def test_health_docs_and_the_page_are_open_unless_closed(guarded, serve, store):
    for path in (
        "/",
        "/assets/page.js",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/health",
        "/health/live",
        "/ping",
    ):
        assert guarded.get(path).status_code == 200, path
    closed = serve(store, api_keys=KEYS, open_docs="false", open_health="false")
    key = {"X-API-Key": "first-key-0123456789"}
    closed.wait_for(lambda: closed.get("/health", headers=key).status_code == 200)
    for path in ("/docs", "/redoc", "/openapi.json", "/health", "/health/live", "/ping"):
        assert closed.get(path).status_code == 401, path
    assert (
        "401"
        in closed.get("/openapi.json", headers=key).json()["paths"]["/predict"]["post"]["responses"]
    )


def test_only_allowed_origins_may_read(guarded, server):
    preflight = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "X-API-Key",
    }
    for origin, allowed in (("https://good.example", True), ("https://evil.example", False)):
        answer = guarded.get("/health", headers={"Origin": origin})
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed
        asked = httpx.options(f"{guarded.url}/predict", headers={"Origin": origin, **preflight})
        assert (asked.status_code == 200) is allowed
    key = {"X-API-Key": "first-key-0123456789", "Origin": "https://good.example"}
    posted = guarded.post("/predict", {"text": GOOD}, headers=key)
    assert posted.headers["access-control-allow-origin"] == "https://good.example"
    assert (
        "access-control-allow-origin"
        not in server.get("/health", headers={"Origin": "https://good.example"}).headers
    )


def test_it_works_below_a_prefix_whether_or_not_the_proxy_strips_it(guarded):
    assert guarded.get("/sentiment/health").status_code == 200
    assert guarded.get("/sentiment/assets/page.js").status_code == 200
    key = {"X-API-Key": "first-key-0123456789"}
    assert guarded.post("/sentiment/predict", {"text": GOOD}, headers=key).status_code == 200
    assert guarded.post("/sentiment/predict", {"text": GOOD}).status_code == 401
    assert guarded.get("/sentiment/v2/models/reviews", headers=key).status_code == 200
    assert '"/sentiment/openapi.json"' in guarded.get("/docs").text.replace("'", '"')
    assert guarded.get("/openapi.json").json()["servers"] == [{"url": "/sentiment"}]


def test_forwarded_addresses_are_believed_only_from_a_named_proxy(guarded, server):
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "forwarded-1"}
    for running, client in ((guarded, "203.0.113.9"), (server, "127.0.0.1")):
        running.get("/health", headers=forwarded)
        record = running.wait_for(
            lambda running=running: next(
                (r for r in running.records if r.get("request_id") == "forwarded-1"), None
            )
        )
        assert record["client"] == client


def test_a_failure_tells_nothing_about_the_inside(serve, own_store, tmp_path):
    # a broken model directory and a bad key: the messages name neither paths nor keys
    from sentiment.errors import UsageError
    from serve.settings import load_settings

    with pytest.raises(UsageError, match="fewer than 16") as error:
        load_settings(api_keys="short-secret")
    assert "short-secret" not in str(error.value)
    with pytest.raises(UsageError, match="SENTIMENT_PORT"):
        load_settings(port=70_000)

    server = serve(own_store, "--wait", model=tmp_path / "nowhere")
    server.wait_for(lambda: server.get("/health/live").status_code == 200)
    for answer in (
        server.post("/predict", {"text": "a"}),
        server.get("/health"),
        server.get("/model/info"),
    ):
        assert answer.status_code == 503
        assert str(tmp_path) not in answer.text


def test_an_unexpected_error_is_a_500_in_the_same_shape(store):
    import asyncio

    import httpx
    from prometheus_client import CollectorRegistry

    from serve.app import create_app
    from serve.model import ModelHolder
    from serve.settings import load_settings

    holder = ModelHolder(store)
    app = create_app(holder, CollectorRegistry(), load_settings(access_log=False, output_dir=store))

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return [
                await client.get("/model/info"),
                await client.get("/v2/models/reviews"),
                await client.get("/docs"),
            ]

    holder.current = object()  # type: ignore[assignment] # whatever goes wrong inside
    info, metadata, docs = asyncio.run(ask())
    for answer in (info, metadata):
        assert answer.status_code == 500
        assert answer.json()["code"] == "internal"
        assert "object" not in answer.text
        assert "Traceback" not in answer.text
    assert docs.status_code == 200
    assert (
        app.shared.metrics.registry.get_sample_value(
            "sentiment_errors_total", {"error_type": "internal"}
        )
        == 2
    )


def test_the_service_imports_nothing_heavy():
    program = (
        "import sys, serve.app, serve.process.supervisor, serve.process.server, sentiment.cli.serve\n"
        "heavy = 'sklearn scipy pandas polars pyarrow mlflow datasets hydra omegaconf matplotlib "
        "skops joblib rich'.split()\n"
        "print([name for name in heavy if name in sys.modules])\n"
        "print(sorted(name for name in sys.modules if name.startswith('sentiment.') "
        "and name.count('.') == 1))"
    )
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    heavy, ours = out.stdout.splitlines()
    assert heavy == "[]"
    allowed = {
        "sentiment." + name
        for name in (
            *(
                "answering",
                "cli",
                "scorer",
                "store",
                "files",
                "drift",
                "feedback",
                "text",
                "errors",
                "records",
                "parent",
                "shadow",
                "sqlite",
                "patterns",
            ),
        )
    }
    assert set(eval(ours)) <= allowed  # noqa: S307 - our own list of names


def test_nothing_heavy_is_imported_while_serving(server):
    """What a running server has mapped: no extension module of the training stack."""
    from pathlib import Path

    maps = Path(f"/proc/{server.process.pid}/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    text = maps.read_text()
    assert "numpy" in text
    for package in ("sklearn", "scipy", "pandas", "polars", "pyarrow"):
        assert f"site-packages/{package}/" not in text


@pytest.mark.parametrize("name", ["api_keys", "feedback_key"])
def test_keys_of_which_none_is_one_open_nothing(name):
    from sentiment.errors import UsageError
    from serve.settings import load_settings

    for value in (" ", " , ", ","):
        with pytest.raises(UsageError, match="blanks and commas"):
            load_settings(**{name: value})
    assert not load_settings(**{name: ""}).api_keys
