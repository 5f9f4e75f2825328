"""The reference, made from the code: what is added there stands here by itself."""

from __future__ import annotations

import inspect
import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
_VARIABLE = re.compile(r"\bSENTIMENT_[A-Z][A-Z_]+[A-Z]\b")

# Variables that are no setting of the service; a test holds that none is missing here.
OTHERS = {
    "SENTIMENT_TRUSTED_TYPES": "types, comma-separated, that a model which does not compile may hold, beyond the fixed list",
    "SENTIMENT_PUSHGATEWAY_URL": "where `sentiment retrain` leaves how it ended, as metrics",
    "SENTIMENT_TRAIN_ARGS": "words that `sentiment retrain` takes before those of its command line: what deployments train on",
}
# Set by the code for its own children, or named in examples only.
INTERNAL = {"SENTIMENT_PARENT_PID", "SENTIMENT_COMPLETE"}


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
        for row in lines
    )


def code(text: object) -> str:
    """Return a text as code, whatever stands in it."""
    return f"`` {text} ``" if "`" in str(text) else f"`{text}`"


# commands


def commands() -> str:
    """Return every command's help."""
    import typer.main

    from sentiment.cli import COMMANDS, build_app

    root = typer.main.get_command(build_app())
    parts = [
        "# Commands",
        "Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed, "
        "2 wrong usage, 130 interrupted. `--debug` after any command shows tracebacks.",
        table(
            ["command", "what it does"],
            ((f"[`{name}`](#{name})", what) for name, what in COMMANDS.items()),
        ),
    ]
    for name in COMMANDS:
        for path, command in _walk(name, root.commands[name]):  # type: ignore[attr-defined]
            parts.append(f"{'#' * (path.count(' ') + 2)} {path}")
            parts.append(f"```text\n{_help(path, command)}\n```")
    return "\n\n".join(parts) + "\n"


def _walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _walk(f"{path} {name}", inner)


def _help(path: str, command: Any) -> str:
    context = command.context_class(
        command, info_name=f"sentiment {path}", terminal_width=96, max_content_width=96
    )
    return str(command.get_help(context)).rstrip()


# config


def config() -> str:
    """Return every key of the config, with default and meaning."""
    from sentiment import groups

    parts = [
        "# Config keys",
        "Change any key behind a command (`sentiment train model.C=0.1`) or in a file of your own. `sentiment config "
        "--keys` prints what results; a wrong key is refused with the nearest valid one.",
        "## Everywhere",
        _keys(groups.root_keys(), groups.comments()),
    ]
    for group, names in groups.groups(all_=True).items():
        parts.append(f"## {group}")
        parts.append(f"Options: {', '.join(code(name) for name in names)}.")
        for option in names:
            parts.append(f"### {group}={option}")
            if heading := groups.heading(group, option):
                parts.append(_prose(heading))
            keys = {f"{group}.{key}": value for key, value in groups.read(group, option).items()}
            told = {f"{group}.{key}": what for key, what in groups.comments(group, option).items()}
            if group in ("experiment", "search"):
                parts.append(
                    f"```yaml\n{(groups.CONFIG_DIR / group / f'{option}.yaml').read_text('utf-8').strip()}\n```"
                )
            else:
                parts.append(_keys(keys, told))
    return "\n\n".join(parts) + "\n"


def _keys(keys: Mapping[str, Any], told: Mapping[str, str]) -> str:
    from sentiment import groups

    rows = []
    for key, value in keys.items():
        default = "must be given" if value == "???" else code(json.dumps(value, ensure_ascii=False))
        words = groups.values(key)
        one_of = f" One of {', '.join(code(word) for word in words)}." if len(words) > 2 else ""
        rows.append((code(key), default, _escaped(told.get(key, "")) + one_of))
    return table(["key", "default", "meaning, and how to change it"], rows)


def _escaped(text: str) -> str:
    return re.sub(r"([<*_\[\]])", r"\\\1", text)


def _prose(text: str) -> str:
    """Return a comment as Markdown: lines that are commands or indented become code."""
    shown: list[str] = []
    for line in text.splitlines():
        is_code = line.startswith((" ", "sentiment "))
        shown.append(f"    {line.strip()}" if is_code else _escaped(line))
        if is_code and len(shown) > 1 and not shown[-2].startswith("    "):
            shown.insert(-1, "")
    return "\n".join(shown)


# settings


def settings() -> str:
    """Return every SENTIMENT_* variable."""
    from serve.settings import Settings

    comments = _field_comments(Settings)
    rows = []
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        choices = getattr(alias, "choices", [alias] if alias else [f"SENTIMENT_{name.upper()}"])
        default = field.default
        shown = (default or "none") if isinstance(default, tuple | dict) else default
        rows.append(
            (
                ", ".join(code(c) for c in choices if str(c).isupper()),
                code(shown),
                _escaped(comments.get(name, "")),
            )
        )
    return (
        "\n\n".join(
            [
                "# Settings",
                "## Of the service",
                "Each is an environment variable; `sentiment serve` has options for the first few. Lists are comma-separated. "
                "Sizes are bytes, characters or counts; times are seconds. Limits and queues are per worker.",
                table(["variable", "default", "meaning"], rows),
                "## Of other commands",
                table(
                    ["variable", "meaning"], ((code(name), what) for name, what in OTHERS.items())
                ),
                "`SENTIMENT_OUTPUT_DIR` says for every command where runs and models lie. MLflow's own variables "
                "(`MLFLOW_TRACKING_URI`, `MLFLOW_REGISTRY_URI`, …) mean what they mean to MLflow.",
            ]
        )
        + "\n"
    )


def _field_comments(model: type) -> dict[str, str]:
    """Return the comment behind each field of a class, also when its value takes several lines."""
    found: dict[str, str] = {}
    name, depth = "", 0
    above: list[
        str
    ] = []  # a sentence of its own above a field; headings of sections are no sentence
    for line in inspect.getsource(model).splitlines():
        if line.strip().startswith("# "):
            above.append(line.strip()[2:])
            continue
        match = re.match(r"    ([a-z_]\w*): ", line)
        if match and depth == 0:
            name = match[1]
            if above and above[0][0].isupper():
                found[name] = " ".join(above)
        above = []
        bare, hash_, comment = line.partition("  # ")
        depth += sum(bare.count(c) for c in "([{") - sum(bare.count(c) for c in ")]}")
        if hash_ and name:
            found[name] = comment.strip()
        if depth == 0 and not match:
            name = ""
    return found


def variables() -> set[str]:
    """Return the SENTIMENT_* variables that the packages name."""
    files = [*(ROOT / "sentiment").rglob("*.py"), *(ROOT / "serve").rglob("*.py")]
    return {name for file in files for name in _VARIABLE.findall(file.read_text(encoding="utf-8"))}


# HTTP


def http() -> str:
    """Return every endpoint with its fields, and every error."""
    from serve.problems import CODES

    document = _service().openapi()
    parts = [
        "# HTTP API",
        "`sentiment serve` shows the same at `/docs`, where requests can be tried. Errors have one shape: `code`, `message`, "
        "`request_id`.",
    ]
    schemas = document.get("components", {}).get("schemas", {})
    for path, methods in document["paths"].items():
        for method, about in methods.items():
            parts.append(f"## {method.upper()} {path}")
            parts.append(_escaped(about.get("description") or about.get("summary", "")))
            body = (
                about.get("requestBody", {})
                .get("content", {})
                .get("application/json", {})
                .get("schema")
            )
            if body:
                parts += ["Body:", _schema(body, schemas)]
            for status, answer in about.get("responses", {}).items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema")
                if schema and status.startswith("2"):
                    parts += [f"Answer {status}:", _schema(schema, schemas)]
    parts += [
        "## Errors",
        table(
            ["code", "status", "meaning"],
            ((code(name), str(status), what) for name, (status, what) in CODES.items()),
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _schema(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    found = _resolved(schema, schemas)
    needed = set(found.get("required", ()))
    rows = [
        (
            code(name) + ("" if name in needed else " (optional)"),
            _type(field, schemas),
            _escaped(
                str(_resolved(field, schemas).get("description", field.get("description", "")))
            ),
        )
        for name, field in found.get("properties", {}).items()
    ]
    return table(["field", "type", "meaning"], rows) if rows else _type(schema, schemas)


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return schemas.get(name, {}) if name else schema


def _type(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(each, schemas) for each in schema["anyOf"])
    found = _resolved(schema, schemas)
    kind = str(found.get("type", "any"))
    if kind == "array":
        return f"list of {_type(found.get('items', {}), schemas)}"
    if kind == "object" and isinstance(found.get("additionalProperties"), dict):
        return f"object of {_type(found['additionalProperties'], schemas)}"
    if kind == "object" and found.get("properties"):
        return "object (" + ", ".join(found["properties"]) + ")"
    return kind


def _service() -> Any:
    from prometheus_client import CollectorRegistry

    from serve.app import create_app
    from serve.model import ModelHolder
    from serve.settings import Settings

    folder = Path(tempfile.gettempdir())
    return create_app(ModelHolder(folder), CollectorRegistry(), Settings(output_dir=folder))


# metrics


def metrics() -> str:
    """Return every metric of the service and every alert."""
    from prometheus_client import CollectorRegistry

    from serve.app import create_app
    from serve.model import ModelHolder
    from serve.settings import Settings

    registry = CollectorRegistry()
    folder = Path(tempfile.gettempdir())
    create_app(ModelHolder(folder), registry, Settings(output_dir=folder))
    rows = []
    for family in registry.collect():
        labels = sorted(
            {label for sample in family.samples for label in sample.labels} - {"le", "quantile"}
        )
        name = family.name + ("_total" if family.type == "counter" else "")
        rows.append(
            (code(name), family.type, ", ".join(map(code, labels)), _escaped(family.documentation))
        )
    parts = [
        "# Metrics and alerts",
        "## Metrics",
        "`GET /metrics` gives them to Prometheus. Labels that appear with the first request or model are not all shown.",
        table(["metric", "kind", "labels", "meaning"], sorted(rows)),
        "## Alerts",
        "Rules are in `monitoring/prometheus/rules`; each tells what to do.",
    ]
    document = yaml.safe_load(
        (ROOT / "monitoring/prometheus/rules/alerts.yml").read_text(encoding="utf-8")
    )
    for group in document["groups"]:
        parts.append(f"### {group['name']}")
        parts.append(
            table(
                ["alert", "severity", "after", "what it says", "what to do"],
                (
                    (
                        code(rule["alert"]),
                        rule.get("labels", {}).get("severity", ""),
                        str(rule.get("for", "at once")),
                        _escaped(_plain(rule.get("annotations", {}).get("summary", ""))),
                        _escaped(_plain(rule.get("annotations", {}).get("action", ""))),
                    )
                    for rule in group["rules"]
                    if "alert" in rule
                ),
            )
        )
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Return an annotation without the template's syntax."""
    return re.sub(r"\{\{\s*(?:\$labels\.(\w+)|\$value[^}]*)\s*\}\}", lambda m: m[1] or "…", text)


# Python


def python() -> str:
    """Return the public Python API: mkdocstrings reads the docstrings."""
    import sentiment

    places = sentiment._PUBLIC
    parts = [
        "# Python",
        "`import sentiment` imports nothing heavy; each name is loaded when it is used. Vectorizers and classifiers are "
        "scikit-learn estimators in `sentiment.vectorizers` and `sentiment.models`.",
    ]
    for name, module in places.items():
        # A package's own docstring names the public place; the module is where it is written.
        found = getattr(sentiment, name)
        where = found.__module__ if isinstance(found, type) else module
        parts.append(f"::: {where}.{name}")
        parts.append(
            f"    options:\n      heading: sentiment.{name}\n      inherited_members: false"
        )
    for package in ("sentiment.scorer.prediction", "sentiment.scorer.explain"):
        names = (
            ("Prediction", "Predictions")
            if package.endswith("prediction")
            else ("Explanation", "Contribution")
        )
        parts += [f"::: {package}.{name}" for name in names]
    for package in ("sentiment.vectorizers", "sentiment.models"):
        module_ = __import__(package, fromlist=["__all__"])
        for name in module_.__all__:
            found = getattr(module_, name)
            parts.append(f"::: {found.__module__}.{name}")
    return _joined(parts)


def _joined(parts: Sequence[str]) -> str:
    """Join parts; options stay with what they are of."""
    text = ""
    for part in parts:
        text += part if not text else ("\n" if part.startswith("    options") else "\n\n") + part
    return text + "\n"


# artifact


def artifact() -> str:
    """Return the format of a stored model, with a small real one."""
    from sentiment import TextClassifier
    from sentiment.scorer.document import FORMAT, FORMAT_VERSION, PIPELINE_FORMAT, PIPELINE_NAME

    texts = ["a joy", "great fun", "a bore", "so dull"] * 5
    labels = ["up", "up", "down", "down"] * 5
    made = TextClassifier("count", "logreg").fit(texts, labels).compile(texts, labels)
    document = _shortened(made.document)
    tensors = table(
        ["tensor", "type", "shape"],
        (
            (code(name), str(array.dtype), "×".join(map(str, array.shape)))
            for name, array in made.tensors.items()
        ),
    )
    return f"""# A model's files

```text
outputs/models/
├── latest.json, champion.json      which model, since when, moved by whom: replaced by rename
└── <digest>/
    ├── info.json                   run, time, metrics and data; not part of the digest
    └── scorer/
        ├── scorer.json             what the model is, in text
        └── weights.safetensors     arrays, mapped read-only and shared between processes
```

The **digest** is the SHA-256 of `scorer.json`, which holds the SHA-256 of the weights: the same config, data, code and
library versions give the same digest. A stored model is never modified. Nothing in it is executed: it is JSON and arrays.

Format `{FORMAT}`, version {FORMAT_VERSION}. Readers accept older versions and refuse newer ones in one line.

## scorer.json

Of four words, shortened:

```json
{json.dumps(document, indent=1, ensure_ascii=False)}
```

## weights.safetensors

{tensors}

## A model that does not compile

Trees, neural networks and the like have no linear scores. Their directory has the format `{PIPELINE_FORMAT}`: `scorer.json`
without views, and `{PIPELINE_NAME}` (skops, no pickle) in place of the weights. It answers in the same commands, slower, where
scikit-learn is installed. Types are built only from a fixed list and from those that `SENTIMENT_TRUSTED_TYPES` names.
"""


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value[:2]] + (["…"] if len(value) > 2 else [])
    if isinstance(value, str) and len(value) > 48:
        return value[:45] + "…"
    return round(value, 4) if isinstance(value, float) else value


def signals() -> str:
    """Return the signals of drift with their usual limits."""
    from sentiment.drift.signals import SIGNALS

    rows = ((code(name), str(limit), _escaped(what)) for name, (limit, what) in SIGNALS.items())
    return table(["signal", "usual limit", "what it is"], rows)


TABLES: Mapping[str, Callable[[], str]] = {"signals": signals}
"""What pages ask for by name in double braces."""

PAGES: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "config": config,
    "settings": settings,
    "http": http,
    "metrics": metrics,
    "python": python,
    "artifact": artifact,
}
