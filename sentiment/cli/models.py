"""``sentiment models``: what is registered, what was champion when, and the way back."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sentiment.cli.output_dir import OutputDir
from sentiment.cli.register import (
    Force,
    Gate,
    Json,
    Name,
    OtherLabels,
    Rules,
    Why,
    make_promotion,
    report,
)

if TYPE_CHECKING:
    from rich.table import Table

    from sentiment.registry.pull import Pulled
    from sentiment.registry.registry import Version

app = typer.Typer(
    no_args_is_help=True, help="List, show, promote, roll back, pull and prune models."
)

SHOWN = ("test_accuracy", "val_f1_score", "test_ece")


@app.command("list")
def list_(
    name: Annotated[
        str | None, typer.Option("--name", help="Only this registered model. [default: all]")
    ] = None,
    json_: Json = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """List the registered versions, newest first, with aliases, metrics and age."""
    from rich.box import SIMPLE
    from rich.table import Table

    from sentiment.cli.console import emit_json, stderr
    from sentiment.registry.registry import Registry
    from sentiment.tracking.address import is_new

    versions: list[Version] = []
    if name is not None or not is_new(output_dir):
        registry = Registry(output_dir, name or "sentiment")
        with registry.reaching():
            for known in [name] if name is not None else registry.names():
                registry.name = known
                versions += registry.versions()
    if json_:
        emit_json([version.to_dict() for version in versions])
        return
    if not versions:
        stderr().print("nothing is registered yet: sentiment register")
        return
    table = Table(box=SIMPLE)
    for column in ("model", "version", "aliases", "digest", *SHOWN, "age", "run"):
        table.add_column(column, justify="right" if column in (*SHOWN, "age") else "left")
    for version in versions:
        metrics = [version.metrics.get(metric) for metric in SHOWN]
        table.add_row(
            version.name,
            version.version,
            ", ".join(version.aliases),
            (version.digest or "-")[:12],
            *("-" if value is None else f"{value:.4f}" for value in metrics),
            _age(version.created),
            (version.run_id or "-")[:8],
        )
    _print(table)


@app.command("show")
def show(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="champion, latest, a digest or a directory: what lies here; "
            "a number, models:/NAME@ALIAS or models:/NAME/VERSION: what is registered.",
        ),
    ] = "champion",
    name: Name = "sentiment",
    json_: Json = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Show one model: where it comes from, how good it is, who uses it."""
    from sentiment.cli.console import emit_json, stdout
    from sentiment.store import is_remote

    if reference.isdigit():
        reference = f"models:/{name}/{reference}"
    found = (
        _registered(reference, output_dir)
        if is_remote(reference)
        else _stored(reference, output_dir)
    )
    if json_:
        emit_json(found)
        return
    console = stdout()
    for key, value in found.items():
        if isinstance(value, dict):
            console.print(f"{key}:")
            for inner, figure in sorted(value.items()):
                text = f"{figure:.4f}" if isinstance(figure, float) else figure
                console.print(f"  {inner}: {text}")
        elif value not in (None, [], ()):
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            console.print(f"{key}: {text}")


def _stored(reference: str, output_dir: Path) -> dict[str, Any]:
    """Describe a model on this machine; needs no MLflow."""
    from sentiment.scorer import Scorer
    from sentiment.store import pointer_names, read_pointer, resolve

    stored = resolve(reference, output_dir)
    scorer = Scorer.load(stored.path, digest=stored.digest)
    pointers = {which: read_pointer(output_dir, which) for which in pointer_names(output_dir)}
    return {
        "digest": stored.digest,
        "path": str(stored.path),
        "name": stored.name,
        "version": stored.version,
        "run_id": stored.run_id,
        "pointers": [
            which
            for which, pointer in pointers.items()
            if pointer and pointer["digest"] == stored.digest
        ],
        "labels": list(scorer.labels),
        "n_features": scorer.n_features,
        "size_bytes": scorer.size_bytes,
        **{
            key: value
            for key, value in stored.info.items()
            if key not in ("name", "version", "run_id")
        },
    }


def _registered(reference: str, output_dir: Path) -> dict[str, Any]:
    from sentiment.errors import UsageError
    from sentiment.registry.reference import parse
    from sentiment.registry.registry import Registry
    from sentiment.store import models_dir

    parsed = parse(reference)
    if parsed.run is not None:
        raise UsageError(f"{reference} is a run, not a version: sentiment compare shows runs")
    registry = Registry(output_dir, parsed.name)
    with registry.reaching():
        version = registry.get(str(parsed.alias or parsed.version))
    here = bool(version.digest) and (models_dir(output_dir) / str(version.digest)).is_dir()
    return {**version.to_dict(), "registry": registry.where, "stored_here": here}


@app.command("history")
def history(
    name: Name = "sentiment",
    alias: Annotated[str | None, typer.Option("--alias", help="Only this alias's moves.")] = None,
    json_: Json = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Show every move of an alias: when, from, to, by whom, why, and what the gate said."""
    from rich.box import SIMPLE
    from rich.table import Table

    from sentiment.cli.console import emit_json, stderr
    from sentiment.registry.registry import Registry

    registry = Registry(output_dir, name)
    with registry.reaching():
        moves = [move for move in registry.moves() if alias in (None, move.alias)]
    if json_:
        emit_json([move.to_dict() for move in moves])
        return
    if not moves:
        stderr().print("no alias was ever moved")
        return
    table = Table(box=SIMPLE)
    for column in ("when", "alias", "from", "to", "action", "state", "by", "gate", "why"):
        table.add_column(column)
    for move in moves:
        said = "-" if move.gate is None else f"{move.gate['gate']}: {_verdict(move.gate)}"
        table.add_row(
            *(move.at, move.alias, move.from_version or "-", move.to_version),
            f"{move.action}{' (forced)' if move.forced else ''}",
            *(move.state, move.by, said, move.why or ""),
        )
    _print(table)


def _verdict(gate: dict[str, Any]) -> str:
    if gate.get("passed"):
        return "passed"
    failed = [check["name"] for check in gate.get("checks", ()) if not check["passed"]]
    return "failed " + ", ".join(failed or gate.get("failed", ()))


@app.command("promote")
def promote(
    version: Annotated[
        str | None,
        typer.Argument(
            help="The version's number, or an alias of it. With --from-shadow by default the "
            "model that is there."
        ),
    ] = None,
    rules: Rules = None,
    from_shadow: Annotated[
        bool,
        typer.Option(
            "--from-shadow",
            help="Only if it was better than the champion on the same texts of the service, by "
            "what people answered.",
        ),
    ] = False,
    name: Name = "sentiment",
    gate: Gate = "default",
    force: Force = None,
    allow_other_labels: OtherLabels = None,
    reason: Why = None,
    json_: Json = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Make a registered version champion if it passes the gate.

    sentiment models promote 3 · sentiment models promote challenger gate.max_drop=0.01 ·
    sentiment models promote --from-shadow
    """
    from sentiment.errors import UsageError

    if from_shadow and version is not None and "=" in version:
        rules, version = [version, *(rules or [])], None  # a rule, where no version is needed
    if version is None and not from_shadow:
        raise UsageError("which version? sentiment models promote VERSION, or --from-shadow")
    promotion = make_promotion(gate, rules, force, allow_other_labels)

    from sentiment.registry.promotion import promote as promote_version
    from sentiment.registry.reference import parse
    from sentiment.registry.registry import Registry
    from sentiment.store import is_remote

    if version is not None and is_remote(version):
        parsed = parse(version)
        name, version = parsed.name, str(parsed.alias or parsed.version)
    registry = Registry(output_dir, name)
    if from_shadow:
        from dataclasses import replace

        from sentiment.registry.evidence import challenger_version, shadow_evidence

        which = version or challenger_version(registry)
        promotion = replace(promotion, evidence=shadow_evidence(output_dir, promotion.rules))
    else:
        which = str(version)
    report(lambda: promote_version(registry, which, promotion, reason), json_=json_)


@app.command("rollback")
def rollback(
    name: Name = "sentiment",
    reason: Why = None,
    json_: Json = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Set champion back to the champion before; again goes one further back."""
    from sentiment.registry.promotion import rollback as roll_back
    from sentiment.registry.registry import Registry

    registry = Registry(output_dir, name)
    report(lambda: roll_back(registry, reason), json_=json_)


@app.command("pull")
def pull(
    reference: Annotated[
        str,
        typer.Argument(
            metavar="[REF]", help="models:/NAME@ALIAS, models:/NAME/VERSION or runs:/RUN_ID."
        ),
    ] = "models:/sentiment@champion",
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch", metavar="SECONDS", min=0.0, help="Look again this often, for ever."
        ),
    ] = None,
    pointer: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="ALIAS",
            help="The local alias that follows: one to serve in the shadow.",
        ),
    ] = "champion",
    json_: Annotated[
        bool, typer.Option("--json", help="Print one JSON document per move.")
    ] = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Fetch a model from the registry and let the local champion point to it.

    While the registry is away the model of an earlier pull stays.
    """
    from sentiment.cli.console import emit_json
    from sentiment.parent import end_as_bound
    from sentiment.registry.pull import pull as pull_once
    from sentiment.registry.reference import check_alias

    if pointer != "champion":
        check_alias(pointer)

    end_as_bound()
    if watch is not None:
        _watch(reference, output_dir, watch, pointer, json_=json_)
        return
    pulled = pull_once(reference, output_dir, pointer)
    if json_:
        emit_json(pulled.to_dict())
    elif pulled.stale:
        # The model is there, but a person should hear that it may be old.
        print(f"warning: {pulled}", file=sys.stderr)
    else:
        print(pulled)


def _watch(reference: str, output_dir: Path, seconds: float, pointer: str, *, json_: bool) -> None:
    """Pull whenever the reference moves; SIGTERM ends it with 0."""
    from sentiment.cli.console import emit_json
    from sentiment.registry.pull import Watch

    def stamped(text: str) -> str:
        return f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}"

    def report_move(pulled: Pulled) -> None:
        if json_:
            emit_json(pulled.to_dict())
        else:
            print(stamped(str(pulled)), flush=True)

    def say(text: str) -> None:
        print(stamped(text), file=sys.stderr, flush=True)

    watcher = Watch(reference, output_dir, seconds, report=report_move, say=say, pointer=pointer)
    before = signal.signal(signal.SIGTERM, lambda _signal, _frame: watcher.stop())
    try:
        watcher.run()
    finally:
        signal.signal(signal.SIGTERM, before)


@app.command("prune")
def prune(
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove; without it only say what would go.")
    ] = False,
    json_: Json = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    """Remove stored models that no pointer, alias or unfinished run needs.

    Runs keep their own copy in MLflow: --model runs:/RUN_ID fetches a removed model again.
    """
    from sentiment.cli.console import emit_json, stderr, stdout
    from sentiment.registry.prune import remove, survey

    candidates = survey(output_dir)
    if yes:
        remove(candidates, output_dir)
    if json_:
        emit_json(
            {
                "removed": yes,
                "models": [
                    {
                        "digest": candidate.model.digest,
                        "run_id": candidate.model.run_id,
                        "size_bytes": candidate.size_bytes,
                        "needed_by": candidate.needed_by,
                    }
                    for candidate in candidates
                ],
            }
        )
        return
    console = stdout()
    going = [candidate for candidate in candidates if candidate.needed_by is None]
    for candidate in candidates:
        kept = (
            f"kept for {candidate.needed_by}"
            if candidate.needed_by
            else "removed"
            if yes
            else "to remove"
        )
        console.print(
            f"{candidate.model.digest[:12]}  {candidate.size_bytes / 1e6:8.1f} MB  {kept}",
        )
    size = sum(candidate.size_bytes for candidate in going) / 1e6
    verb = "removed" if yes else "would be removed (--yes does it)"
    stderr().print(f"{len(going)} of {len(candidates)} models, {size:.1f} MB: {verb}")


def _print(table: Table) -> None:
    from sentiment.cli.console import stdout

    console = stdout()
    if not console.is_terminal:
        console.width = 250  # a file or pipe has no edge to wrap at
    console.print(table)


def _age(created: str) -> str:
    from sentiment.registry.pull import age

    return age((datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds())
