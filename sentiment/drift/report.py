"""A drift report as one HTML page: no script, no outside asset, readable for years."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from sentiment.page.charts import histogram
from sentiment.page.html import document, number, percent, table

_TITLES = {
    "score": ("Score", "score; right is towards the second label"),
    "confidence": ("Confidence", "probability of the label given"),
    "length": ("Text length", "tokens"),
    "unknown_share": ("Unknown tokens", "share of a text's tokens"),
}


def html_report(found: Mapping[str, Any]) -> str:
    """Return the page for what ``sentiment monitor --json`` prints.

    Parameters
    ----------
    found : mapping
        `Drift.document` with ``input``, ``created``, ``model`` and ``new_words`` added.
    """
    model = found["model"]
    reference = found["reference"]
    drift = found["drift"]
    verdict, kind = {
        True: ("Drift", "drift"),
        False: ("No drift", "calm"),
        None: ("Too few texts to tell", "unknown"),
    }[drift]
    body = [
        f"<h1>Drift report: {escape(found['input'])}</h1>",
        f'<p><span class="verdict {kind}">{verdict}</span></p>',
        f'<p class="soft">{found["texts"]:,} texts against {reference["texts"]:,} '
        f"{escape(reference['name'])} texts of model {escape(model['digest'][:12])}, "
        f"{escape(found['created'])}</p>",
        "<h2>Signals</h2>",
        _signals(found["signals"]),
        "<h2>Labels and answers</h2>",
        _shares(found),
        "<h2>Accuracy</h2>",
        _accuracy(found),
        "<h2>Distributions</h2>",
        '<div class="grid">',
        *(_histogram(name, found["histograms"][name]) for name in _TITLES),
        "</div>",
        "<h2>Words that moved</h2>",
        _words(found),
    ]
    return document(f"Drift report: {found['input']}", body)


def _signals(signals: Mapping[str, Mapping[str, Any]]) -> str:
    said = {
        True: '<span class="bad">drift</span>',
        False: '<span class="good">fine</span>',
        None: "cannot tell",
    }
    return table(
        ["signal", "value", "limit", "", "what it is"],
        [
            [
                escape(name),
                number(signal["value"]),
                number(signal["limit"]),
                said[signal["drift"]],
                f'<span class="soft">{escape(signal["meaning"])}</span>',
            ]
            for name, signal in signals.items()
            if signal["value"] is not None
        ],
        (1, 2),
    )


class Share(NamedTuple):
    """A share of the texts that is shown.

    Attributes
    ----------
    name : str
    window, reference : float or None
        Of the texts that are looked at, and of those that they are compared with.
    band : (float, float) or None
        Between which the window's share has not drifted; of an estimate, its interval.
    """

    name: str
    window: float | None
    reference: float | None
    band: tuple[float, float] | None = None


def shares(document: Mapping[str, Any]) -> list[Share]:
    """Return the shares that people read of a drift document, in their order."""
    coverage, low = document.get("coverage"), document["low_confidence"]
    said = "answered {}" if coverage is None else "{}, given or withheld"
    found = [
        Share(said.format(label), pair["window"], pair["reference"])
        for label, pair in document["labels"].items()
    ]
    found.append(Share(f"confidence below {low['below']:g}", low["window"], low["reference"]))
    if coverage is not None:
        band = None if coverage["low"] is None else (coverage["low"], coverage["high"])
        here, usual = coverage["window"], coverage["reference"]
        found.append(Share("answered, not withheld", here, usual, band))
    unknown = document["unknown_tokens"]
    return [*found, Share("unknown tokens", unknown["window"], unknown["reference"])]


def accuracies(document: Mapping[str, Any]) -> list[Share]:
    """Return the shares of right answers: as estimated, and as people's answers show."""
    found = document["accuracy"]
    band = None if found["estimated"] is None else (found["low"], found["high"])
    told = [
        Share("estimated without labels", found["estimated"], found["reference_estimated"], band)
    ]
    if found["answers"] or found["reference_observed"] is not None:
        name = f"observed in {found['answers']:,} answers" if found["answers"] else "observed"
        told.append(Share(name, found["observed"], found["reference_observed"]))
    return told


def _shares(document: Mapping[str, Any]) -> str:
    rows = []
    for name, window, reference, band in shares(document):
        ends = f" ({percent(band[0])} to {percent(band[1])} is no drift)" if band else ""
        rows.append([escape(name), percent(window), percent(reference) + ends])
    length = document["mean_length"]
    rows.append(
        ["mean length, tokens", *(f"{length[k] or 0:.0f}" for k in ("window", "reference"))]
    )
    return table(["share", "these texts", "reference"], rows, (1, 2))


def _accuracy(document: Mapping[str, Any]) -> str:
    rows = []
    for name, window, reference, band in accuracies(document):
        ends = f" ({percent(band[0])} to {percent(band[1])})" if band else ""
        rows.append([name, percent(window) + ends, percent(reference)])
    told = table(["accuracy", "these texts", "reference"], rows, (1, 2))
    return f'{told}<p class="soft">{escape(document["accuracy"]["assumptions"])}</p>'


def _words(document: Mapping[str, Any]) -> str:
    words = document["words"]
    parts = []
    for title, moved in (("Used more", words["more"]), ("Used less", words["less"])):
        told = table(
            [title, "share of texts", "expected"],
            [
                [escape(word["word"]), percent(word["share"]), percent(word["expected"])]
                for word in moved
            ],
            (1, 2),
        )
        parts.append(told if moved else f'<p class="soft">{title}: none beyond chance.</p>')
    new = document.get("new_words", [])
    if new:
        parts.append(
            table(
                ["Unknown to the model", "share of texts"],
                [[escape(word["word"]), percent(word["share"])] for word in new],
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
    # The first and the last bin are open: their outer edges have no number.
    labels = [
        f"{edges[place - 1]:g}" if 0 < place <= len(edges) else ""
        for place in range(used[0], used[-1] + 2)
    ]
    series = {
        "these texts": [now[place] / max(sum(now), 1) for place in places],
        "reference": [then[place] / max(sum(then), 1) for place in places],
    }
    return histogram(
        title, [float(place) for place in range(len(labels))], series, x_name=unit,
        y_name="share of texts", labels=labels,
    )  # fmt: skip
