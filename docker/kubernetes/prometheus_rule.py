"""Write the PrometheusRule of components/monitoring from the rule files in monitoring/prometheus.

Run it after a change of the rules; tests/test_deploy.py keeps the two equal.
"""

from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
RULES = HERE.parents[1] / "monitoring" / "prometheus" / "rules"
TARGET = HERE / "components" / "monitoring" / "prometheusrule.yaml"


class Indented(yaml.SafeDumper):
    """Writes lists indented, as every other file here is."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def render() -> str:
    """Return the manifest as text."""
    groups = [
        group
        for path in sorted(RULES.glob("*.yml"))
        if not path.name.endswith("_test.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
    ]
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "sentiment"},
        "spec": {"groups": groups},
    }
    head = "# Made by docker/kubernetes/prometheus_rule.py from monitoring/prometheus/rules: edit those.\n"
    return head + yaml.dump(
        manifest, Dumper=Indented, sort_keys=False, width=1000, allow_unicode=True
    )


if __name__ == "__main__":
    TARGET.write_text(render())
