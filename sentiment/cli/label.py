"""``sentiment label``: a page to label text on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sentiment.cli.output_dir import OutputDir

HELP = """Label text on a page, by keyboard; the next texts are those that teach a model most.

\b
sentiment label --input pool.csv --labels negative,positive
sentiment label --input pool.csv --labelled known.jsonl        what is known already is learned from
sentiment label --suspects outputs/suspects.csv                labels that are probably wrong
sentiment label --feedback                                     what users corrected
sentiment label --input labelled.csv --simulate                what choosing would have saved

Every answer is on the disk before the page goes on; started again, it goes on where it ended.
Train on the answers: sentiment train data=files data.train=labelled.jsonl data.unlabelled=pool.csv
"""


def label(
    input_: Annotated[
        str | None,
        typer.Option("--input", metavar="FILE", help="The texts: a file, a glob, a folder."),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="A,B", help="The labels. [default: those of the files that have some]"
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="FILE", help="JSON Lines; grows, and is gone on with.")
    ] = Path("labelled.jsonl"),
    labelled: Annotated[
        str | None, typer.Option(metavar="FILE", help="Texts with labels to learn from too.")
    ] = None,
    suspects: Annotated[
        str | None, typer.Option(metavar="FILE", help="What `sentiment data --labels` wrote.")
    ] = None,
    feedback: Annotated[
        bool, typer.Option("--feedback", help="Look at what users corrected.")
    ] = False,
    text_column: Annotated[str, typer.Option("--text", help="The column of the text.")] = "text",
    label_column: Annotated[
        str, typer.Option("--label", help="The column of the label.")
    ] = "label",
    strategy: Annotated[
        str, typer.Option(help="diverse, uncertain or random: how texts are chosen.")
    ] = "diverse",
    batch: Annotated[
        int, typer.Option(min=1, help="Answers after which the model learns again.")
    ] = 10,
    seed: Annotated[int, typer.Option(help="Of what is drawn.")] = 42,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Answer with the labels of --input, and compare.")
    ] = False,
    host: Annotated[str, typer.Option(help="Address; others than this machine need a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8010,
    output_dir: OutputDir = Path("outputs"),
) -> None:
    from sentiment.cli.console import stderr
    from sentiment.errors import UsageError, nearest
    from sentiment.labelling import session
    from sentiment.labelling.answers import AnswerFile
    from sentiment.labelling.choosing import STRATEGIES
    from sentiment.labelling.desk import Desk

    if strategy not in STRATEGIES:
        raise UsageError(
            f"--strategy {strategy} is not one of {', '.join(STRATEGIES)}{nearest(strategy, STRATEGIES)}"
        )
    if sum((input_ is not None, suspects is not None, feedback)) != 1:
        raise UsageError("give what to label: one of --input FILE, --suspects FILE, --feedback")
    if simulate:
        if input_ is None:
            raise UsageError("--simulate needs labels: --input labelled.csv")
        _simulate(session.labelled(input_, text_column, label_column), strategy, batch, seed)
        return
    if not output.parent.is_dir():
        raise UsageError(f"{output}: no such folder {output.parent}")
    known = session.labelled(labelled, text_column, label_column) if labelled else []
    if input_ is not None:
        items = session.pool(input_, text_column)
    else:
        items = session.feedback(output_dir) if suspects is None else session.suspects(suspects)
        strategy = "given"
    answers = AnswerFile(output)
    names = [name.strip() for name in labels.split(",") if name.strip()] if labels else None
    if names is None:
        names = session.label_names(items, known, answers.rows)
    desk = Desk(items, names, answers, labelled=known, strategy=strategy, batch=batch, seed=seed)

    from sentiment.labelling.service import LabellingService

    service = LabellingService(desk, host, port)
    console = stderr()
    console.print(
        f"{len(desk.items):,} texts, {len(answers.rows):,} answers in {output}; Ctrl-C ends",
        soft_wrap=True,
    )
    console.print(f"open {service.address}", soft_wrap=True, markup=False)
    try:
        service.run()
    finally:
        answers.close()
        console.print(f"{len(answers.rows):,} answers in {output}", soft_wrap=True)


def _simulate(rows: list[tuple[str, str]], strategy: str, batch: int, seed: int) -> None:
    from rich.table import Table

    from sentiment.cli.console import stdout
    from sentiment.labelling.simulation import simulate

    table = Table(title=f"accuracy on held-out texts, by number of answers ({len(rows):,} texts)")
    table.add_column("answers", justify="right")
    strategies = [strategy, *([] if strategy == "random" else ["random"])]
    runs = {name: dict(simulate(rows, name, batch=batch, seed=seed)) for name in strategies}
    for name in strategies:
        table.add_column(name, justify="right")
    for n in runs[strategy]:
        table.add_row(f"{n:,}", *(f"{runs[name][n]:.4f}" for name in strategies))
    stdout().print(table)
