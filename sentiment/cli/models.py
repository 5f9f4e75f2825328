"""``sentiment models``: what is registered, what was champion when, and the way back."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from sentiment.registry.registry import registered_versions

    versions = registered_versions(output_dir, name)
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
    from sentiment.registry.lookup import about_model

    found = about_model(reference, output_dir, name)
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
        table.add_row(
            *(move.at, move.alias, move.from_version or "-", move.to_version),
            f"{move.action}{' (forced)' if move.forced else ''}",
            *(move.state, move.by, move.verdict or "-", move.why or ""),
        )
    _print(table)


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

    from sentiment.registry.evidence import promote_from_shadow
    from sentiment.registry.promotion import promote as promote_version
    from sentiment.registry.reference import version_named
    from sentiment.registry.registry import Registry

    if version is not None:
        name, version = version_named(version, name)
    registry = Registry(output_dir, name)
    if version is None or from_shadow:
        report(lambda: promote_from_shadow(registry, version, promotion, reason), json_=json_)
    else:
        report(lambda: promote_version(registry, version, promotion, reason), json_=json_)


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
        emit_json({"removed": yes, "models": [candidate.to_dict() for candidate in candidates]})
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
