"""Prove the two images and the Compose stack on a real Docker engine; standard library only.

``stack.py image``    the serving image: its size, read-only, non-root, waiting for a model,
                      answering, health-checked, drained by ``docker stop`` under load.
``stack.py compose``  the stack on an empty machine: the api waits, a training job promotes, the api
                      serves without a restart, Prometheus sees it.
``stack.py storage``  the same with MLflow on PostgreSQL and S3.

The images ``sentiment-serve`` and ``sentiment-train`` must have been built. Everything that is made
has names of its own and is removed; ports are free ones of this machine. Where images
``sentiment-stand-in/*`` exist, they stand in for those that cannot be pulled.
"""
# ruff: noqa: T201

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DOCKER_FOLDER = Path(__file__).resolve().parents[1]
# Debian's client can build with BuildKit; another one earlier on PATH may lack the plugins.
DOCKER = os.environ.get("DOCKER") or shutil.which("docker") or "docker"
PROOF = f"sentiment-proof-{os.getpid()}"
REVIEW = "A wonderful film: great acting, a moving story and a perfect ending."
TRAIN = "sentiment train experiment=quick && sentiment register --latest --promote"
LIMIT_MB = 150


def docker(*words: str, check: bool = True, **options: Any) -> str:
    """Run one docker command and return what it prints."""
    done = subprocess.run(
        [DOCKER, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    if check and done.returncode:
        sys.exit(f"failed: docker {' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout.strip()


def say(text: str) -> None:
    print(f"  {text}", flush=True)


def expect(condition: object, what: str) -> None:
    if not condition:
        sys.exit(f"failed: {what}")
    say(f"ok: {what}")


def ask(url: str, document: object | None = None) -> tuple[int, Any]:
    """Return the status and the answer, parsed if it is JSON; status 0 when nobody answers."""
    data = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, body = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body


def wait(what: str, done: Callable[[], object], seconds: float = 120) -> float:
    """Poll until something holds; return the seconds that it took."""
    start = time.monotonic()
    while not done():
        if time.monotonic() - start > seconds:
            sys.exit(f"failed: after {seconds:.0f} s not yet: {what}")
        time.sleep(0.05)
    return time.monotonic() - start


class Load:
    """A bounded stream of predictions from a few connections, with every answer counted."""

    def __init__(self, port: int, connections: int = 8, limit: int = 20_000) -> None:
        self.outcomes: Counter[str] = Counter()
        self.stopped = threading.Event()
        self.port, self.limit = port, limit // connections
        self.body = json.dumps({"text": REVIEW * 10})
        self.threads = [threading.Thread(target=self._run) for _ in range(connections)]
        for thread in self.threads:
            thread.start()

    def _run(self) -> None:
        connection = None
        kept = "new"
        for _ in range(self.limit):
            if self.stopped.is_set():
                break
            if connection is None:
                kept = "new"
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                try:
                    connection.connect()
                except OSError:
                    # Not accepted: a load balancer would have sent it to another replica.
                    self.outcomes["refused"] += 1
                    connection = None
                    time.sleep(0.05)
                    continue
            try:
                connection.request(
                    "POST", "/predict", self.body, {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                answer.read()
                self.outcomes[str(answer.status)] += 1
                kept = "kept"
                if answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.outcomes[f"lost ({type(error).__name__} on a {kept} connection)"] += 1
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def stop(self) -> Counter[str]:
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        return self.outcomes


def state_of(container: str) -> Any:
    return json.loads(docker("inspect", "--format", "{{json .State}}", container))


# ---- the image ----
def prove_image() -> None:
    print("the serving image")
    dockerfile = (DOCKER_FOLDER / "Dockerfile").read_text()
    base = re.search(r"^FROM ([^@]+)@sha256:[0-9a-f]{64} AS base$", dockerfile, re.MULTILINE)
    assert base is not None
    if docker("images", "--quiet", base[1]):
        sizes = [
            int(docker("image", "inspect", "--format", "{{.Size}}", name)) / 1e6
            for name in ("sentiment-serve", base[1])
        ]
        above = sizes[0] - sizes[1]
        expect(above <= LIMIT_MB, f"{above:.0f} MB above its base (at most {LIMIT_MB})")
    for image in ("sentiment-serve", "sentiment-train"):
        _prove_contents(image)
    try:
        _prove_container()
    finally:
        for name in ("empty", "api"):
            docker("rm", "--force", "--volumes", f"{PROOF}-{name}", check=False)
        docker("volume", "rm", "--force", PROOF, check=False)


# What installs software, by the names of programs and of Python packages.
INSTALLERS = re.compile(r"(pip|apt|apt-get|aptitude|dpkg|easy_install|uv|conda)([\d.]*)$")
PACKAGES = re.compile(r"((site|dist)-packages/pip|/ensurepip)(/|$)")


def _prove_contents(image: str) -> None:
    """Look at every file of an image, whoever may read it."""
    container = docker("create", image)
    found, privileged, number = [], [], 0
    try:
        with subprocess.Popen([DOCKER, "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout is not None
            with tarfile.open(fileobj=export.stdout, mode="r|") as files:
                for file in files:
                    number += 1
                    program = not file.isdir() and file.mode & 0o111
                    if (program and INSTALLERS.fullmatch(Path(file.name).name)) or PACKAGES.search(
                        file.name
                    ):
                        found.append(file.name)
                    if file.name.split("/")[0] in ("wheel", "package"):
                        found.append(file.name)
                    if file.isfile() and file.mode & 0o6000:
                        privileged.append(file.name)
    finally:
        docker("rm", container)
    expect(number > 1000 and not found, f"{image}: no installer in {number} files {found[:5]}")
    expect(not privileged, f"{image}: no program becomes another user {privileged[:5]}")


def _start(name: str, *options: str) -> tuple[str, int]:
    """Start a serving container as strictly as a cluster would; return its name and port.

    It listens on this machine's loopback itself: a published port is Docker's proxy, which accepts
    connections for a server that has gone, so that refused and lost could not be told apart.
    """
    container = f"{PROOF}-{name}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    docker(
        *("run", "--detach", "--name", container, "--read-only", "--cap-drop=ALL"),
        *("--security-opt=no-new-privileges", "--network=host", "--env=SENTIMENT_HOST=127.0.0.1"),
        *(f"--env=SENTIMENT_PORT={port}", *options, "sentiment-serve"),
    )
    return container, port


def _prove_container() -> None:
    container, port = _start("empty")
    wait("an answer", lambda: ask(f"http://127.0.0.1:{port}/health/live")[0] == 200)
    status, answer = ask(f"http://127.0.0.1:{port}/health/ready")
    expect(
        status == 503, f"without a model it lives and says it is not ready: {json.dumps(answer)}"
    )
    wait("health", lambda: state_of(container)["Health"]["Status"] == "healthy")
    say("ok: Docker finds it healthy meanwhile")
    docker("stop", container)
    expect(state_of(container)["ExitCode"] == 0, "stopped while waiting it exits 0")

    docker("volume", "create", PROOF)
    done = docker(
        *("run", "--rm", "--read-only", "--cap-drop=ALL", f"--volume={PROOF}:/data"),
        *("--entrypoint=sh", "sentiment-train", "-ec", TRAIN),
    )
    say(f"trained, registered and promoted: {done.splitlines()[-1] if done else ''}")

    container, port = _start("api", f"--volume={PROOF}:/data", "--env=SENTIMENT_DRAIN_SECONDS=1")
    url = f"http://127.0.0.1:{port}"
    wait("ready", lambda: ask(f"{url}/health/ready")[0] == 200)
    ready = datetime.now(UTC)
    seconds = (
        ready - datetime.fromisoformat(state_of(container)["StartedAt"][:26] + "+00:00")
    ).total_seconds()
    ticks = docker("exec", container, "cat", "/proc/1/stat").rsplit(")", 1)[1].split()[11:13]
    cpu = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    say(f"ready {seconds:.1f} s after its start, {cpu:.1f} s of them on a processor")
    status, answer = ask(f"{url}/predict", {"text": REVIEW})
    expect(status == 200 and answer["sentiment"] == "positive", "it answers a prediction")

    def inside(code: str) -> str:
        return docker("exec", container, "python3", "-c", code)

    expect(inside("import os; print(os.getuid())") == "10001", "it is not root")
    writes = (
        "import pathlib\n"
        "for place in ('/opt/x', '/etc/x', '/usr/x'):\n"
        "    try: pathlib.Path(place).touch()\n"
        "    except OSError as error: print(error.strerror)"
    )
    expect(inside(writes).splitlines() == ["Read-only file system"] * 3, "its root is read-only")
    unwanted = ("sklearn", "scipy", "pandas", "polars", "mlflow", "datasets", "pip")
    missing = f"import importlib.util as u; print([n for n in {unwanted} if u.find_spec(n)])"
    python = docker("exec", container, "/opt/sentiment/bin/python", "-c", missing)
    expect(python == "[]", "no training library and no installer in it")
    wait("health", lambda: state_of(container)["Health"]["Status"] == "healthy")
    say("ok: Docker finds it healthy")

    load = Load(port)
    wait("traffic", lambda: load.outcomes["200"] > 300)
    docker("stop", "--time=40", container)
    outcomes = load.stop()
    expect(state_of(container)["ExitCode"] == 0, "`docker stop` under load: it exits 0")
    lost = sum(n for outcome, n in outcomes.items() if outcome not in ("200", "refused"))
    expect(
        lost == 0, f"nothing was lost: {dict(outcomes)} (refused: after it had stopped listening)"
    )


# ---- the stack ----
class Stack:
    """The Compose project under a name of its own, on free ports."""

    def __init__(self, folder: Path, *env_files: Path) -> None:
        self.stand_ins = {
            name: image
            for name in ("prometheus", "pushgateway", "alertmanager", "postgres", "s3", "proxy")
            if docker("images", "--quiet", image := f"sentiment-stand-in/{name}")
        }
        self.environment = {
            **os.environ,
            **{f"{name.upper()}_IMAGE": image for name, image in self.stand_ins.items()},
            **dict.fromkeys(
                (
                    *("GRAFANA_ADMIN_PASSWORD", "SENTIMENT_FEEDBACK_KEY", "POSTGRES_PASSWORD"),
                    *("MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY"),
                ),
                secrets.token_hex(24),
            ),
            "S3_SECRET_KEY": secrets.token_hex(24),
        }
        ports = {
            "api": 8000,
            "mlflow": 5000,
            "prometheus": 9090,
            "alertmanager": 9093,
            "grafana": 3000,
        }
        self.ports = ports
        override = folder / "override.yaml"
        override.write_text(
            "services:\n"
            + "".join(
                f'  {service}:\n    ports: !override ["127.0.0.1::{port}"]\n'
                + ("    container_name: !reset null\n" if service == "api" else "")
                for service, port in ports.items()
            )
        )
        self.words = [
            "compose",
            "--project-name",
            PROOF,
            *(f"--env-file={file}" for file in env_files),
        ]
        self.words += ["--file", str(DOCKER_FOLDER / "compose.yaml"), "--file", str(override)]

    def run(self, *words: str, check: bool = True) -> str:
        return docker(*self.words, *words, check=check, env=self.environment)

    def url(self, service: str) -> str:
        return f"http://{self.run('port', service, str(self.ports[service]))}"

    def down(self) -> None:
        self.run(
            "--profile=train", "--profile=storage", "down", "--volumes", "--timeout=40", check=False
        )


def prove_compose() -> None:
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.env"
        empty.touch()
        _prove_stack("the stack, on SQLite and a volume", Stack(Path(folder), empty))


def prove_storage() -> None:
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), DOCKER_FOLDER / "storage.env")
        _prove_stack("the stack, on PostgreSQL and S3", stack, _look_into_storage)


def _prove_stack(title: str, stack: Stack, more: Callable[[Stack], None] | None = None) -> None:
    print(title)
    services = ["api", "model-sync", "mlflow", "prometheus", "alertmanager"]
    services += ["pushgateway", "alerts"]
    if stack.stand_ins:
        say(f"Debian-made stand-ins for {', '.join(stack.stand_ins)}; Grafana is left out")
    else:
        services.append("grafana")
    try:
        stack.run("up", "--detach", "--wait", "--wait-timeout=300", "--no-build", *services)
        say(f"ok: `up --wait`: {', '.join(services)}")
        api = stack.url("api")
        status, answer = ask(f"{api}/health/ready")
        expect(status == 503, f"the api waits for a champion and says so: {json.dumps(answer)}")
        container = stack.run("ps", "--quiet", "api")
        started = state_of(container)["StartedAt"]

        done = stack.run("run", "--rm", "train", "experiment=quick")
        # By its words: an old engine lets Compose say 0 for a job that failed.
        expect("champion" in done, f"trained, registered and promoted: {done.splitlines()[-1:]}")
        seconds = wait("a served champion", lambda: ask(f"{api}/health/ready")[0] == 200)
        say(f"ok: it serves {seconds:.1f} s after the training job has ended")
        expect(state_of(container)["StartedAt"] == started, "without a restart")
        status, answer = ask(f"{api}/predict", {"text": REVIEW})
        expect(status == 200 and answer["sentiment"] == "positive", "it answers a prediction")

        prometheus = stack.url("prometheus")
        query = f"{prometheus}/api/v1/query?query=sum(sentiment_predictions_total)"

        def counted() -> bool:
            result = ask(query)[1]["data"]["result"]
            return bool(result) and float(result[0]["value"][1]) >= 1

        wait("the prediction in Prometheus", counted)
        say("ok: Prometheus has counted it")
        rules = ask(f"{prometheus}/api/v1/rules")[1]["data"]["groups"]
        expect(rules, f"Prometheus runs {len(rules)} groups of rules")
        managers = ask(f"{prometheus}/api/v1/alertmanagers")[1]["data"]["activeAlertmanagers"]
        expect(managers, f"and sends alerts to {managers[0]['url'] if managers else ''}")
        # The watchdog is always firing: it must come out where alerts go.
        wait("an alert in the log", lambda: "SentimentWatchdog" in stack.run("logs", "alerts"))
        say("ok: an alert has gone the whole way")
        status, _ = ask(f"{stack.url('mlflow')}/version")
        expect(status == 401, "MLflow asks who is there")
        if more is not None:
            more(stack)

        stack.run("stop", "mlflow")
        status, _ = ask(f"{api}/predict", {"text": REVIEW})
        expect(status == 200, "with MLflow away it goes on serving")
    except SystemExit:
        print(stack.run("ps", "--all", check=False))
        print(stack.run("logs", "--tail=20", check=False)[-12_000:], flush=True)
        raise
    finally:
        stack.down()


def _look_into_storage(stack: Stack) -> None:
    sql = "select name || ' version ' || version from model_versions"
    rows = stack.run(
        *("exec", "--no-TTY", "postgres", "psql", "--username=mlflow", "--no-align"),
        *("--tuples-only", f"--command={sql}", "mlflow"),
    )
    expect(rows, f"PostgreSQL holds {rows.splitlines()[0] if rows else 'no version'}")
    keys = stack.run(
        *("run", "--rm", "bucket"),
        "import boto3\n"
        "found = boto3.client('s3', endpoint_url='http://s3:8333').list_objects_v2(Bucket='mlflow')\n"
        "print(*(item['Key'] for item in found.get('Contents', [])), sep='\\n')",
    )
    expect("weights.safetensors" in keys, f"S3 holds {len(keys.splitlines())} artifacts")


if __name__ == "__main__":
    proofs = {"image": prove_image, "compose": prove_compose, "storage": prove_storage}
    if len(sys.argv) != 2 or sys.argv[1] not in proofs:
        sys.exit("usage: stack.py image|compose|storage")
    proofs[sys.argv[1]]()
