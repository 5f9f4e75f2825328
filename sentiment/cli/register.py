"""``sentiment register``: a run's model becomes a version, and perhaps the champion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sentiment.cli.output_dir import OutputDir

if TYPE_CHECKING:
    from sentiment.registry.gate import GateResult
    from sentiment.registry.promotion import Promotion, PromotionResult

HELP = """Register a run's model; with --promote make it champion if it passes the gate.

\b
sentiment register                                    the newest model
sentiment register --best val_f1_score --alias challenger
sentiment register --run RUN_ID --promote
sentiment register --promote --gate strict gate.min.test_accuracy=0.9
sentiment register --promote --force "the old one offends customers"
"""

Name = Annotated[str, typer.Option("--name", help="The registered model.")]
Gate = Annotated[str, typer.Option("--gate", help="Rules: a file of configs/gate.")]
Force = Annotated[
    str | None,
    typer.Option("--force", metavar="REASON", help="Promote whatever the gate says; recorded."),
]
OtherLabels = Annotated[
    str | None,
    typer.Option(
        "--allow-other-labels",
        metavar="REASON",
        help="Allow labels that are not the champion's; recorded.",
    ),
]
Why = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")]
Rules = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RULES",
        help="gate.KEY=VALUE changes a rule, such as gate.min.test_accuracy=0.9.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def register(
    rules: Rules = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN_ID", help="Register this run's model.")
    ] = None,
    best: Annotated[
        str | None,
        typer.Option("--best", metavar="METRIC", help="Register the best run by this metric."),
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="Register the newest model (the default).")
    ] = False,
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="Choose among this experiment's runs only.")
    ] = None,
    name: Name = "sentiment",
    alias: Annotated[
        str | None, typer.Option("--alias", help="Also set this alias, such as challenger.")
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Make it champion if it passes the gate.")
    ] = False,
    gate: Gate = "default",
    force: Force = None,
    allow_other_labels: OtherLabels = None,
    reason: Why = None,
    json_: Json = False,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    from sentiment.cli.console import stderr
    from sentiment.errors import UsageError

    _only_rules(rules)
    if sum((run is not None, best is not None, latest)) > 1:
        raise UsageError("--run, --best and --latest choose the run: give one of them")
    overruled = force is not None or allow_other_labels is not None
    if not promote and (rules or overruled or gate != "default"):
        raise UsageError(
            "--gate, --force, --allow-other-labels and rules are for --promote: add it, or leave "
            "them out"
        )
    if alias == "champion":
        raise UsageError("the alias champion is set by --promote, through the gate")
    promotion = make_promotion(gate, rules, force, allow_other_labels) if promote else None

    from sentiment.registry.choice import choose_run
    from sentiment.registry.promotion import register as register_run
    from sentiment.registry.registry import Registry

    registry = Registry(output_dir, name)
    with registry.reaching():
        run_id, how = choose_run(registry, run, best, experiment)
    stderr().print(f"run {run_id}{how}")
    report(
        lambda: register_run(registry, run_id, alias=alias, promotion=promotion, why=reason),
        json_=json_,
    )


def make_promotion(
    gate: str, rules: list[str] | None, force: str | None, other_labels: str | None
) -> Promotion:
    """Read the rules before anything is asked of a server."""
    _only_rules(rules)
    from sentiment.errors import UsageError
    from sentiment.registry.promotion import promotion_by

    for option, given in (("--force", force), ("--allow-other-labels", other_labels)):
        if given is not None and not given.strip():
            raise UsageError(
                f"{option} wants the reason, which the history keeps: {option} 'REASON'"
            )
    return promotion_by(gate, rules or [], force=force, other_labels=other_labels)


def _only_rules(words: list[str] | None) -> None:
    from sentiment.errors import Parameter, UsageError

    for word in words or []:
        key, _, value = word.partition("=")
        if key == "output_dir":
            raise UsageError(f"{word} is no rule of a gate: write ", Parameter(key, value))


def report(act: Callable[[], PromotionResult], *, json_: bool) -> None:
    """Do it and print what became of it; a refusal prints its checks too."""
    from sentiment.cli.console import emit_json, stdout
    from sentiment.registry.gate import GateRefusedError

    try:
        outcome = act()
    except GateRefusedError as error:
        if json_:
            emit_json({"champion": False, "refused": True, "gate": error.result.to_dict()})
        else:
            _print_checks(error.result)
        raise
    if json_:
        emit_json(outcome.to_dict())
        return
    version = outcome.version
    console = stdout()
    if outcome.gate is not None:
        _print_checks(outcome.gate)
    console.print(
        f"{version.name} version {version.version} ({(version.digest or '')[:12]})"
        f"{' registered' if outcome.created else ''}",
    )
    for move in outcome.moves:
        before = f"version {move.from_version}" if move.from_version else "nothing"
        forced = f", forced: {move.why}" if move.forced else ""
        console.print(f"{move.alias}: {before} -> version {move.to_version}{forced}")
    if not outcome.moves and "champion" in version.aliases:
        console.print("it is the champion")


def _print_checks(result: GateResult) -> None:
    from sentiment.cli.console import stderr

    console = stderr()
    console.print(f"gate '{result.gate}': {'passed' if result.passed else 'refused'}")
    for check in result.checks:
        console.print(f"  {'ok  ' if check.passed else 'FAIL'} {check.detail}")
