"""A model card: what a model is, what it was made of, how good it is and where it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sentiment.evaluation.abstaining import abstaining_rows, abstaining_told
from sentiment.evaluation.answers import Answers
from sentiment.evaluation.by_class import confused, per_class
from sentiment.evaluation.intervals import intervals
from sentiment.evaluation.report import (
    RARE_NOTE,
    Facts,
    figures,
    majority,
)
from sentiment.evaluation.slices import Slice

CARD = "model_card.md"
"""The artifact of a run, and the description of a registered version."""

_CLASSES = 20


def model_card(
    answers: Answers,
    facts: Facts,
    slices: Sequence[Slice],
    *,
    data: Mapping[str, str],
    strongest: Mapping[str, Sequence[str]],
    behaviour: Sequence[str] = (),
) -> str:
    """Return the card in Markdown.

    Parameters
    ----------
    answers : Answers
    facts : Facts
    slices : sequence of Slice
    data : mapping of str to str
        What the data is: name to value.
    strongest : mapping of str to sequence of str
        Strongest n-grams of each class.
    behaviour : sequence of str
        What behavioural tests found, a line each.

    References
    ----------
    Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
    """
    metrics = facts.metrics
    spans = intervals(answers, metrics)
    decision = answers.decision
    unsure = "answers of low confidence are for people (`--min-confidence`)."
    if decision.withholds:
        least = f"{decision.min_confidence:.3g}"
        unsure = f"below a confidence of {least} it gives no label: those are for people."
    if decision.changes_labels:
        unsure += f" By its rule {decision.told(answers.classes)}."
    withheld = abstaining_rows(answers)
    lines = [
        f"# {facts.title}",
        "",
        f"A linear classifier of texts into {len(answers.classes)} classes: "
        f"{_listed(answers.classes)}.",
        "",
        "## Intended use",
        "",
        "Texts like those that it was trained on, one label for each. Probabilities are calibrated on "
        f"such texts; {unsure}",
        "",
        "## Figures",
        "",
        f"On {len(answers):,} {facts.rows}, which nothing was chosen by:",
        "",
        "| metric | value | 95 % interval |",
        "|---|---|---|",
        *(
            f"| {name} | {metrics[name]:.4f} | "
            + (f"{spans[name][0]:.4f} to {spans[name][1]:.4f}" if name in spans else "")
            + " |"
            for name in figures(answers, metrics)
        ),
        *(["", f"{RARE_NOTE}."] if answers.rare else ()),
        "",
        "| beside | accuracy | this model less it | p | |",
        "|---|---|---|---|---|",
    ]
    for other in (majority(answers), *facts.others):
        test = other.test
        difference = (
            "" if test is None else f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f})"
        )
        accuracy = "" if other.accuracy is None else f"{other.accuracy:.4f}"
        chance = "" if test is None else f"{test.p_value:.2g}"
        lines.append(
            f"| {_cell(other.name)} | {accuracy} | {difference} | {chance} | {_cell(other.note)} |"
        )
    shown = per_class(answers)[:_CLASSES]
    lines += [
        "",
        f"### Classes{f', the {_CLASSES} of lowest F1' if len(shown) < len(answers.classes) else ''}",
        "",
        "| class | rows | precision | recall | F1 |",
        "|---|---|---|---|---|",
        *(f"| {_cell(n)} | {rows} | {p:.3f} | {r:.3f} | {f:.3f} |" for n, rows, p, r, f in shown),
        *(
            [
                "",
                "### Abstaining",
                "",
                "| | rows | share, 95 % interval |",
                "|---|---|---|",
                *(f"| {' | '.join(row)} |" for row in withheld),
                "",
                abstaining_told(answers),
            ]
            if withheld
            else ()
        ),
        "",
        "## Where it fails",
        "",
    ]
    worse = [one for one in slices if one.worse]
    lines += [
        f"- Significantly worse on {one.name}: {one.accuracy:.1%} ({one.low:.1%} to {one.high:.1%}) of "
        f"{one.rows:,} rows, {one.rest:.1%} on the others."
        for one in worse
    ]
    if not worse:
        lines.append(
            f"- None of {len(slices)} kinds of texts is significantly worse than the others."
        )
    lines += [
        f"- {count:,} rows of {a} are answered {b} ({share:.1%} of the class)."
        for a, b, count, share in confused(answers, 5)
    ]
    lines += [f"- {line}" for line in behaviour]
    lines += [
        "",
        "## Limits",
        "",
        "- It knows words and their neighbours, not what a text means: irony, comparison with what is "
        "not said, and quotations mislead it.",
        "- Texts of other kinds, times or languages than the training texts are beyond these figures; "
        "`sentiment monitor` tells when they come.",
        "- What the training texts are biased to, it is biased to.",
        "",
        "## Data",
        "",
        *(f"- {name}: {value}" for name, value in data.items()),
        "",
        "## What it goes by",
        "",
        *(
            f"- {label}: {', '.join(f'`{_cell(one)}`' for one in words)}"
            for label, words in strongest.items()
        ),
        "",
        "## Reproduce",
        "",
        *(f"- {name}: `{value}`" for name, value in facts.about.items()),
        "",
    ]
    return "\n".join(lines)


def _listed(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("`", "'")
