"""The dashboards as files: complete, consistent, and typed against Grafana's own schema.

Whether their queries return data is tried in test_live.py, against a real Prometheus.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

MONITORING = Path(__file__).parents[2] / "monitoring"
DASHBOARDS = sorted((MONITORING / "grafana/dashboards").glob("*.json"))
SCHEMA = "@grafana/schema@12.1.1"
TYPESCRIPT = "typescript@5.9.3"

# Panel type -> module of its options, and whether its fields have options of their own.
PANEL_TYPES = {
    "timeseries": ("timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen", True),
    "heatmap": ("heatmap/panelcfg/x/HeatmapPanelCfg_types.gen", True),
    "stat": ("stat/panelcfg/x/StatPanelCfg_types.gen", False),
    "state-timeline": ("statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen", True),
    "bargauge": ("bargauge/panelcfg/x/BarGaugePanelCfg_types.gen", False),
    "table": ("table/panelcfg/x/TablePanelCfg_types.gen", True),
}
# Grafana's enums are TypeScript's, to which no JSON string is assignable; their values are.
PREAMBLE = """
import type { Dashboard, Panel, RowPanel } from '@grafana/schema';
type Loose<T> = 0 extends 1 & T ? any : unknown extends T ? T
  : T extends string ? `${T}` : T extends (infer U)[] ? Loose<U>[]
  : T extends object ? { [K in keyof T]: Loose<T[K]> } : T;
"""


def load(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def panels(dashboard: dict) -> list[dict]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_is_described_has_a_unit_and_its_place(path):
    dashboard = load(path)
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} overlaps another panel"
        taken |= cells
    for panel in panels(dashboard):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
        assert all(target["expr"] for target in panel["targets"]), panel["title"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_variable_is_used_and_every_used_one_exists(path):
    dashboard = load(path)
    names = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"]))) - {"__rate_interval"}
    assert used == names


def test_the_two_dashboards_have_what_users_look_for():
    service, model = (
        load(MONITORING / f"grafana/dashboards/{n}.json") for n in ("service", "model")
    )
    queries = {
        name: " ".join(t["expr"] for panel in panels(d) for t in panel["targets"])
        for name, d in (("service", service), ("model", model))
    }
    for metric in (
        *("sentiment_http_requests_total", "sentiment_errors_total", "sentiment_workers"),
        *("sentiment_prediction_latency_seconds_bucket", "sentiment_queue_length"),
        *("sentiment_rejected_total", "sentiment_model_info", "sentiment_model_load_time_seconds"),
    ):
        assert metric in queries["service"], metric
    for metric in (
        *("sentiment_predictions_total", "sentiment_prediction_confidence_bucket"),
        *("sentiment_drift_value", "sentiment_drift_unknown_token_ratio", "ALERTS"),
        *("sentiment_estimated_accuracy_ratio", "sentiment_observed_accuracy_ratio"),
    ):
        assert metric in queries["model"], metric


def test_provisioning_points_at_the_datasource_and_the_dashboards():
    (source,) = yaml.safe_load(
        (MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text()
    )["datasources"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load(
        (MONITORING / "grafana/provisioning/dashboards/sentiment.yml").read_text()
    )["providers"]
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards"
    compose = (MONITORING.parent / "docker/compose.yaml").read_text()
    assert f"grafana/dashboards:{provider['options']['path']}" in compose


@pytest.mark.real
def test_dashboards_are_what_grafanas_types_say(tmp_path):
    """Type every dashboard and the options of every panel with tsc and @grafana/schema."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    install = [npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(tmp_path)]
    try:
        done = subprocess.run(
            [*install, SCHEMA, TYPESCRIPT], check=False, capture_output=True, timeout=90
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not get @grafana/schema in time")
    if done.returncode:
        pytest.skip(f"npm cannot get {SCHEMA}")
    lines = [PREAMBLE]
    for type_, (module, fields) in PANEL_TYPES.items():
        name = type_.replace("-", "_")
        names = f"Options as {name}_options" + (f", FieldConfig as {name}_fields" * fields)
        lines.append(
            f"import type {{ {names} }} from '@grafana/schema/dist/types/raw/composable/{module}.d.ts';"
        )
    for number, path in enumerate(DASHBOARDS):
        dashboard = load(path)
        for panel in dashboard.pop("panels"):
            kind = "RowPanel" if panel["type"] == "row" else "Panel"
            at = f"{number}_{panel['id']}"
            lines.append(f"const panel_{at}: Loose<{kind}> = {json.dumps(panel)};")
            if kind == "Panel":
                name = panel["type"].replace("-", "_")
                options = f"Loose<Partial<{name}_options>>"
                lines.append(f"const options_{at}: {options} = {json.dumps(panel['options'])};")
                custom = panel["fieldConfig"]["defaults"].get("custom", {})
                if PANEL_TYPES[panel["type"]][1]:
                    fields = f"Loose<Partial<{name}_fields>>"
                    lines.append(f"const fields_{at}: {fields} = {json.dumps(custom)};")
                else:
                    assert not custom
        lines.append(f"const dashboard_{number}: Loose<Dashboard> = {json.dumps(dashboard)};")
    (tmp_path / "check.ts").write_text("\n".join(lines), encoding="utf-8")
    check = subprocess.run(
        [
            *(tmp_path / "node_modules/.bin/tsc", "check.ts", "--noEmit", "--strict"),
            *("--skipLibCheck", "--moduleResolution", "bundler", "--module", "esnext"),
        ],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert check.returncode == 0, check.stdout[:4000]


# Pushed by a job, not by an instance.
SHARED = {"sentiment_retrain_last_outcome", "sentiment_retrain_last_success_timestamp_seconds"}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_query_looks_at_the_chosen_instances(path):
    for panel in panels(load(path)):
        for target in panel["targets"]:
            names = r"\b((?:sentiment|process)_\w+|ALERTS|job:\w[\w:]*)({[^}]*})?"
            for metric, chosen in re.findall(names, target["expr"]):
                if metric not in SHARED and "label_values" not in target["expr"]:
                    assert 'instance=~"$instance' in chosen, (panel["title"], target["expr"])
