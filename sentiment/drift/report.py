"""A drift report as one HTML page: no script, no outside asset, readable for years."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

_TITLES = {
    "score": ("Score", "before the link; right is towards the second label"),
    "confidence": ("Confidence", "probability of the label given"),
    "length": ("Text length", "tokens"),
    "unknown_share": ("Unknown tokens", "share of a text's tokens"),
}


def html_report(document: Mapping[str, Any]) -> str:
    """Return the page for what ``sentiment monitor --json`` prints.

    Parameters
    ----------
    document : mapping
        `Drift.document` with ``input``, ``created``, ``model`` and ``new_words`` added.
    """
    style = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    model = document["model"]
    reference = document["reference"]
    drift = document["drift"]
    verdict, kind = {
        True: ("Drift", "drift"),
        False: ("No drift", "calm"),
        None: ("Too few texts to tell", "unknown"),
    }[drift]
    body = [
        f"<h1>Drift report: {escape(document['input'])}</h1>",
        f'<p><span class="verdict {kind}">{verdict}</span></p>',
        f'<p class="soft">{document["texts"]:,} texts against {reference["texts"]:,} '
        f"{escape(reference['name'])} texts of model {escape(model['digest'][:12])}, "
        f"{escape(document['created'])}</p>",
        "<h2>Signals</h2>",
        _signals(document["signals"]),
        "<h2>Labels and answers</h2>",
        _shares(document),
        "<h2>Accuracy</h2>",
        _accuracy(document),
        "<h2>Distributions</h2>",
        '<p class="soft"><span class="key a"></span>these texts'
        '<span class="key b"></span>reference</p>',
        '<div class="grid">',
        *(_histogram(name, document["histograms"][name]) for name in _TITLES),
        "</div>",
        "<h2>Words that moved</h2>",
        _words(document),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Drift report: {escape(document['input'])}</title>"
        f"<style>\n{style}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int]) -> str:
    """Return a table of cells that are HTML already; `numbers` are the columns set right."""

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if place in numbers else ''}>{cell}</{tag}>"
            for place, cell in enumerate(cells)
        )

    lines = "\n".join(f"<tr>{line(cells, 'td')}</tr>" for cells in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{line(head, "th")}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _signals(signals: Mapping[str, Mapping[str, Any]]) -> str:
    said = {
        True: '<span class="bad">drift</span>',
        False: '<span class="good">fine</span>',
        None: "cannot tell",
    }
    return _table(
        ["signal", "value", "limit", "", "what it is"],
        [
            [
                escape(name),
                _number(signal["value"]),
                _number(signal["limit"]),
                said[signal["drift"]],
                f'<span class="soft">{escape(signal["meaning"])}</span>',
            ]
            for name, signal in signals.items()
            if signal["value"] is not None
        ],
        (1, 2),
    )


def _shares(document: Mapping[str, Any]) -> str:
    rows = [
        [f"answered {escape(label)}", _percent(pair["window"]), _percent(pair["reference"])]
        for label, pair in document["labels"].items()
    ]
    low = document["low_confidence"]
    rows.append(
        [
            f"confidence below {low['below']:g}",
            _percent(low["window"]),
            _percent(low["reference"]),
        ]
    )
    unknown = document["unknown_tokens"]
    rows.append(["unknown tokens", _percent(unknown["window"]), _percent(unknown["reference"])])
    length = document["mean_length"]
    rows.append(
        ["mean length, tokens", *(f"{length[k] or 0:.0f}" for k in ("window", "reference"))]
    )
    return _table(["share", "these texts", "reference"], rows, (1, 2))


def _accuracy(document: Mapping[str, Any]) -> str:
    accuracy = document["accuracy"]
    interval = ""
    if accuracy["estimated"] is not None:
        interval = f" ({_percent(accuracy['low'])} to {_percent(accuracy['high'])})"
    rows = [
        [
            "estimated without labels",
            _percent(accuracy["estimated"]) + interval,
            _percent(accuracy["reference_estimated"]),
        ]
    ]
    if accuracy["reference_observed"] is not None:
        rows.append(["observed", _percent(None), _percent(accuracy["reference_observed"])])
    table = _table(["accuracy", "these texts", "reference"], rows, (1, 2))
    return f'{table}<p class="soft">{escape(accuracy["assumptions"])}</p>'


def _words(document: Mapping[str, Any]) -> str:
    words = document["words"]
    parts = []
    for title, moved in (("Used more", words["more"]), ("Used less", words["less"])):
        table = _table(
            [title, "share of texts", "expected"],
            [
                [escape(word["word"]), _percent(word["share"]), _percent(word["expected"])]
                for word in moved
            ],
            (1, 2),
        )
        parts.append(table if moved else f'<p class="soft">{title}: none beyond chance.</p>')
    new = document.get("new_words", [])
    if new:
        parts.append(
            _table(
                ["Unknown to the model", "share of texts"],
                [[escape(word["word"]), _percent(word["share"])] for word in new],
                (1,),
            )
        )
    return f'<div class="grid">{"".join(f"<div>{part}</div>" for part in parts)}</div>'


def _histogram(name: str, parts: Mapping[str, Sequence[float]]) -> str:
    """Draw both histograms as shares over equally wide bins; empty ends are left out."""
    title, unit = _TITLES[name]
    edges, now, then = parts["edges"], parts["window"], parts["reference"]
    used = [place for place in range(len(now)) if now[place] or then[place]] or [0]
    places = range(used[0], used[-1] + 1)
    a = [now[place] / max(sum(now), 1) for place in places]
    b = [then[place] / max(sum(then), 1) for place in places]
    top = max(*a, *b, 1e-9)
    width, height, left = 360.0, 120.0, 14.0
    step = (width - 2 * left) / len(places)

    def box(place: int, share: float, kind: str) -> str:
        tall = share / top * (height - 10)
        return (
            f'<rect class="{kind}" x="{left + place * step + 0.5:.1f}" y="{height - tall:.1f}" '
            f'width="{max(step - 1, 0.5):.1f}" height="{tall:.1f}"'
            + (' opacity=".75"' if kind == "now" else "")
            + "/>"
        )

    marks = []
    for place in range(0, len(places) + 1, max(1, -(-len(places) // 5))):
        edge = used[0] + place - 1  # the edge on the left of this bin
        if 0 <= edge < len(edges):
            marks.append(
                f'<text x="{left + place * step:.1f}" y="{height + 14}" '
                f'text-anchor="middle">{edges[edge]:g}</text>'
            )
    bars = "".join(box(place, share, "now") for place, share in enumerate(a))
    outline = "".join(box(place, share, "then") for place, share in enumerate(b))
    return (
        f'<figure><figcaption>{title} <span class="soft">{unit}</span></figcaption>'
        f'<svg viewBox="0 0 {width:g} {height + 20:g}" role="img" aria-label="{title}: these texts '
        f'and the reference">{bars}{outline}{"".join(marks)}</svg></figure>'
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
