"""The rules and where their alerts go: every alert fires for its cause, and arrives."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.web import HTTP

from sentiment.store import note_sync

from .conftest import MONITORING, Daemon, Webhook, free_port, wait_for

CASES = Path(__file__).with_name("rules_test.yml")
CONFIG = MONITORING / "alertmanager/alertmanager.yml"


def alerts() -> dict[str, dict[str, str]]:
    """Every alert of the rules, with the labels that its rule gives it."""
    rules = yaml.safe_load((MONITORING / "prometheus/rules/alerts.yml").read_text())
    return {
        rule["alert"]: rule["labels"]
        for group in rules["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }


def need(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        pytest.skip(f"{tool} is not installed")
    return found


@pytest.mark.slow
@pytest.mark.real
def test_every_alert_fires_for_its_cause():
    done = subprocess.run(
        [need("promtool"), "test", "rules", str(CASES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires():
    cases = yaml.safe_load(CASES.read_text())["tests"]
    fired = set()
    for case in cases:
        for asked in case.get("promql_expr_test", ()):
            for sample in asked["exp_samples"]:
                if 'alertstate="firing"' in sample["labels"]:
                    fired |= set(re.findall(r'alertname="(\w+)"', sample["labels"]))
        fired |= {
            asked["alertname"]
            for asked in case.get("alert_rule_test", ())
            if asked.get("exp_alerts")
        }
    assert fired == set(alerts())


@pytest.mark.real
def test_every_alert_arrives(tmp_path):
    """With the shipped routes, and only the times made short."""
    manager = need("prometheus-alertmanager")
    webhook = Webhook()
    text = CONFIG.read_text()
    assert set(re.findall(r"url: (\S+)", text)) == {"http://alerts:9099/"}
    text = re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", text)
    text = text.replace("http://alerts:9099/", webhook.url)
    (tmp_path / "alertmanager.yml").write_text(text)
    url = f"http://127.0.0.1:{free_port()}"
    daemon = Daemon(
        [
            manager,
            f"--config.file={tmp_path}/alertmanager.yml",
            f"--storage.path={tmp_path}/alerts",
            f"--web.listen-address={url.removeprefix('http://')}",
            "--cluster.listen-address=",
        ],
        tmp_path / "log",
    )
    try:
        wait_for(lambda: HTTP.get(f"{url}/-/ready").status_code == 200, 30, "Alertmanager")
        # Each in a job and on an instance of its own, so that none keeps another back.
        sent = [
            {"labels": {**labels, "alertname": name, "job": name, "instance": name}}
            for name, labels in alerts().items()
        ]
        down = {"alertname": "SentimentDown", "instance": "x", "severity": "critical"}
        kept_back = {"alertname": "SentimentDrift", "instance": "x", "severity": "warning"}
        sent += [{"labels": down}, {"labels": {**kept_back, "job": "kept back"}}]
        assert HTTP.post(f"{url}/api/v2/alerts", json=sent).status_code == 200
        wait_for(lambda: webhook.names("firing") == set(alerts()), 20, "every alert")
        assert "kept back" not in {alert["labels"].get("job") for alert in webhook.received}
    finally:
        daemon.stop()
        webhook.stop()


def test_the_shipped_receiver_tells_each_alert_in_one_line(tmp_path):
    port = free_port()
    script = str(MONITORING / "alertmanager/log.py")
    daemon = Daemon([sys.executable, "-IS", script, "127.0.0.1", str(port)], tmp_path / "log")

    def alert(name: str, status: str, summary: str = "It is\nso") -> dict[str, object]:
        texts = {"summary": summary, "action": "Do this."}
        labels = {"alertname": name, "severity": "warning"}
        return {"status": status, "labels": labels, "annotations": texts}

    def post(*told: object) -> int:
        return HTTP.post(f"http://127.0.0.1:{port}/", json={"alerts": told}).status_code

    try:
        watchdog = alert("SentimentWatchdog", "firing")
        wait_for(lambda: post(watchdog) == 200, 20, "the receiver")
        assert post(watchdog, alert("SentimentDrift", "firing")) == 200
        assert post(alert("SentimentDrift", "resolved"), watchdog) == 200
        assert post({"status": "firing"}) == 400
    finally:
        daemon.stop()
    assert (tmp_path / "log").read_text().splitlines() == [
        "firing warning SentimentWatchdog: It is so -> Do this.",
        "firing warning SentimentDrift: It is so -> Do this.",
        "resolved warning SentimentDrift: It is so",
    ]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_metric_of_an_alert_exists(serve, streams, workers):
    """Also with the one worker that every deployment here starts with."""
    service = serve("--workers", workers, "--shadow", "latest")
    note_sync(service.outputs, answered=True)
    service.predict(streams.movies[:5])

    def compared() -> str | None:
        text = service.metrics()
        return text if "\nsentiment_shadow_agreement_ratio " in text else None

    text = wait_for(compared, 60, "the shadow")
    rules = (MONITORING / "prometheus/rules").glob("*.yml")
    read = {
        name
        for path in rules
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        for name in re.findall(r"(?<![:\w])(?:sentiment|process)_\w+", rule["expr"])
        if "_retrain_" not in name  # pushed by a job that has ended
    }
    if workers == 1:  # several processes have no CPU, memory and files in common
        dashboards = (MONITORING / "grafana/dashboards").glob("*.json")
        panels = {
            name for path in dashboards for name in re.findall(r"\bprocess_\w+", path.read_text())
        }
        assert len(panels) == 4
        read |= panels
    assert len(read) > 10
    missing = {name for name in read if not re.search(rf"^{name}[ {{]", text, re.MULTILINE)}
    # With several workers the parent counts those that die; a process of its own each has none.
    assert missing == ({"process_start_time_seconds"} if workers > 1 else set())
