"""Labelled text as one page: how much of what, what is odd, what is copied, what looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from sentiment.data import exploration
from sentiment.data.leaks import Copy, copies_between
from sentiment.data.split import Split
from sentiment.data.splits import SHARED_GROUPS, Splits
from sentiment.page import charts
from sentiment.page.html import cards, document, example, number, percent, quote, short, table

_CLASSES_DRAWN, _CLASSES_TOLD = 30, 40
_NAMES = {"train": "train", "val": "validation", "test": "test"}
_LENGTH_EDGES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def data_report(
    splits: Splits,
    *,
    suspects: Mapping[str, Any] | None = None,
    copies: Sequence[Copy] | None = None,
) -> str:
    """Return the page about labelled text.

    Parameters
    ----------
    splits : Splits
        Of a stream, what is held out.
    suspects : mapping, optional
        What `sentiment.training.suspects.Suspects.to_dict` gives.
    copies : sequence of Copy, optional
        What `sentiment.data.leaks.copies_between` gives; found here where it is missing.
    """
    parts: dict[str, Split] = {name: split for name, split in splits.parts().items() if len(split)}
    if copies is None:
        copies = copies_between(parts)
    texts = [text for split in parts.values() for text in split.texts]
    of_part = np.repeat(np.arange(len(parts)), [len(split) for split in parts.values()])
    index = {name: place for place, name in enumerate(splits.classes)}
    of_class = np.array([index[label] for split in parts.values() for label in split.labels])
    by_class = exploration.count_words(texts, of_class, len(splits.classes))
    body = [
        f"<h1>Data: {escape(splits.name)}</h1>",
        f'<p class="soft">from <code>{escape(splits.source)}</code>, fingerprint '
        f"<code>{splits.fingerprint()[:16]}</code></p>",
        cards(
            {
                "rows": f"{len(texts):,}",
                "classes": f"{len(splits.classes):,}",
                "words a text, median": f"{int(np.median(by_class.lengths)):,}",
                "texts copied": f"{_copied(copies):,}",
                **({"suspected labels": f"{len(suspects['suspects']):,}"} if suspects else {}),
            }
        ),
        _warnings(splits, copies),
        "<h2>Rows and classes</h2>",
        _classes(parts, splits.classes),
        "<h2>Lengths</h2>",
        _lengths(parts, by_class.lengths, of_part),
        "<h2>Characters and odd texts</h2>",
        _characters(texts, splits),
        "<h2>Copies and leaks</h2>",
        _copies(parts, copies),
        *(["<h2>Suspected labels</h2>", _suspects(suspects)] if suspects is not None else []),
        "<h2>Words that tell the classes apart</h2>",
        _telling(by_class, splits.classes),
        *_shifts(parts, texts, of_part),
    ]
    return document(f"Data: {splits.name}", body)


def _copied(copies: Sequence[Copy]) -> int:
    return len(
        {(copy.part, copy.place) for copy in copies}
        | {(c.other_part, c.other_place) for c in copies}
    )


def _warnings(splits: Splits, copies: Sequence[Copy]) -> str:
    said = []
    report = splits.report
    for part, name in _NAMES.items():
        for key, what in (("empty_texts", "without text"), ("missing_labels", "without label")):
            if count := report.get(f"{key}_{part}"):
                said.append(f"{count:,} rows of {name} {what} are left out")
    leaks = {
        (copy.other_part, copy.other_place)
        for copy in copies
        if copy.part == "train" and copy.other_part != "train"
    }
    if leaks:
        said.append(
            f"{len(leaks):,} held-out texts are copies of training texts, which flatters the figures: "
            "<code>data.on_leak=drop</code> leaves those out of training"
        )
    for key, count in report.items():
        if key.startswith(SHARED_GROUPS):
            name = escape(key.removeprefix(SHARED_GROUPS))
            said.append(
                f"{count:,} test rows share their {name} with training rows, and no group column is "
                f"used: on reviews such splits flatter by 0.2 to 1 point; <code>data.group_column={name}"
                "</code> keeps a group on one side"
            )
    if report.get("labels_corrected"):
        said.append(f"{report['labels_corrected']:,} labels are those of data.corrections")
    untested = set(splits.classes) - set(splits.test.labels)
    if untested:
        shown = ", ".join(escape(short(name)) for name in sorted(untested)[:10])
        said.append(f"{len(untested):,} classes have no test row: {shown}")
    if not said:
        return '<p class="good">Nothing to warn of: no rows left out, no copies across splits.</p>'
    return "<ul>" + "".join(f"<li>{line}</li>" for line in said) + "</ul>"


def _classes(parts: Mapping[str, Split], classes: Sequence[str]) -> str:
    counts = {name: Counter(split.labels) for name, split in parts.items()}
    total: Counter[str] = Counter()
    for own in counts.values():
        total.update(own)
    ranked = sorted(classes, key=lambda name: (-total[name], name))
    drawn = ranked[:_CLASSES_DRAWN]
    title = "Rows of each class" + (
        f", the {len(drawn)} largest" if len(drawn) < len(ranked) else ""
    )
    chart = charts.bars(
        title,
        [(name, [float(own[name]) for own in counts.values()]) for name in drawn],
        [_NAMES[name] for name in parts],
        unit="rows",
    )
    rows = [
        [
            escape(short(name, 60)),
            *(
                f"{own[name]:,} ({percent(own[name] / max(own.total(), 1))})"
                for own in counts.values()
            ),
        ]
        for name in ranked
    ]
    rows.append(["<b>all</b>", *(f"<b>{own.total():,}</b>" for own in counts.values())])
    head = ["class", *(_NAMES[name] for name in parts)]
    told = table(head, rows, range(1, len(head)), tall=len(rows) > 20)
    return f'<div class="grid">{chart}<div>{told}</div></div>'


def _lengths(parts: Mapping[str, Split], lengths: Any, of_part: Any) -> str:
    last = next(
        (i for i, edge in enumerate(_LENGTH_EDGES) if edge > lengths.max()), len(_LENGTH_EDGES)
    )
    edges = [*map(float, _LENGTH_EDGES[:last])]
    edges.append(float(max(lengths.max() + 1, edges[-1] + 1)))
    series = {}
    rows = []
    for place, name in enumerate(parts):
        own = lengths[of_part == place]
        counts, _ = np.histogram(own, edges)
        series[_NAMES[name]] = (counts / max(len(own), 1)).tolist()
        low, middle, high = np.quantile(own, [0.05, 0.5, 0.95])
        characters = [len(text) for text in parts[name].texts]
        rows.append(
            [
                _NAMES[name], f"{low:,.0f}", f"{middle:,.0f}", f"{high:,.0f}", f"{own.max():,}",
                f"{max(characters):,}",
            ]
        )  # fmt: skip
    chart = charts.histogram(
        "Words a text", edges, series, x_name="words", y_name="share of texts",
        labels=[f"{edge:,.0f}" for edge in edges],
    )  # fmt: skip
    told = table(
        ["words", "5 %", "median", "95 %", "longest", "longest, characters"], rows, range(1, 6)
    )
    return f'<div class="grid">{chart}<div>{told}</div></div>'


def _characters(texts: Sequence[str], splits: Splits) -> str:
    kinds, read = exploration.character_kinds(texts)
    total = max(sum(kinds.values()), 1)
    shown = table(
        ["characters", "share"],
        [
            [escape(kind), percent(count / total) if count / total >= 0.0005 else "&lt; 0.1%"]
            for kind, count in list(kinds.items())[:15]
        ],
        (1,),
    )
    note = f'<p class="soft">of {read:,} texts</p>' if read < len(texts) else ""
    dropped = sum(count for key, count in splits.report.items() if key.startswith("empty_texts_"))
    odd = [("empty (left out)", dropped, "")] if dropped else []
    odd += exploration.odd_texts(texts)
    odd_table = (
        table(
            ["odd texts", "rows", "the first"],
            [[escape(what), f"{count:,}", quote(text, 120)] for what, count, text in odd],
            (1,),
            texts=(2,),
        )
        if odd
        else '<p class="soft">No odd texts.</p>'
    )
    return f'<div class="grid"><div>{shown}{note}</div><div>{odd_table}</div></div>'


def _copies(parts: Mapping[str, Split], copies: Sequence[Copy]) -> str:
    if not copies:
        return '<p class="good">No text is a copy of another, also not with small edits.</p>'
    counts: Counter[tuple[str, str]] = Counter()
    exact: Counter[tuple[str, str]] = Counter()
    conflicts = 0
    for copy in copies:
        key = (copy.part, copy.other_part)
        counts[key] += 1
        a, b = parts[copy.part], parts[copy.other_part]
        exact[key] += a.texts[copy.place] == b.texts[copy.other_place]
        conflicts += a.labels[copy.place] != b.labels[copy.other_place]
    rows = [
        [
            f"within {_NAMES[a]}"
            if a == b
            else f'<span class="bad">{_NAMES[a]} and {_NAMES[b]}</span>',
            f"{count:,}",
            f"{exact[(a, b)]:,}",
            f"{count - exact[(a, b)]:,}",
        ]
        for (a, b), count in counts.items()
    ]
    told = table(["pairs of copies", "all", "exact", "with small edits"], rows, (1, 2, 3))
    near = [copy for copy in copies if copy.alike < 1]
    across = [copy for copy in near if copy.part != copy.other_part]
    examples = [*across, *[copy for copy in near if copy not in across]][:5] or list(copies[:3])
    shown = "".join(
        example(
            f"{percent(copy.alike)} alike, {_NAMES[copy.part]} and {_NAMES[copy.other_part]}",
            quote(parts[copy.part].texts[copy.place], 260),
            quote(parts[copy.other_part].texts[copy.other_place], 260),
        )
        for copy in examples
    )
    said = f"<p>{conflicts:,} pairs of copies have different labels.</p>" if conflicts else ""
    return (
        f"{told}{said}<h3>Examples</h3>{shown}"
        '<p class="soft">Alike: the share of runs of three words that both hold of those that either '
        "holds; from 40 % on two texts are copies.</p>"
    )


def _suspects(suspects: Mapping[str, Any]) -> str:
    found = suspects["suspects"]
    head = (
        f"<p>{len(found):,} of {suspects['rows']:,} labels are probably wrong, by models that have not "
        f"seen them (out-of-fold accuracy {percent(suspects['accuracy_out_of_fold'])}). "
        "Confident learning; a person must decide.</p>"
    )
    if not found:
        return head
    pairs = table(
        ["given", "suggested", "labels"],
        [
            [escape(short(p["given"])), escape(short(p["suggested"])), f"{p['suspects']:,}"]
            for p in suspects["pairs"][:15]
        ],
        (2,),
    )
    hard = table(
        ["hardly told apart", "", "confused", "of both"],
        [
            [
                escape(short(p["first"])), escape(short(p["second"])), f"{p['confused']:,}",
                percent(p["share"]),
            ]
            for p in suspects["hard_pairs"]
        ],
        (2, 3),
    )  # fmt: skip
    examples = "".join(
        example(
            f"row {one['row']}: given {escape(short(one['given']))}, suggested "
            f"<b>{escape(short(one['suggested']))}</b> ({percent(one['probability_suggested'])}); "
            f"speaking for it: {escape(', '.join(one['ngrams'])) or 'unknown'}",
            quote(one["text"], 280),
        )
        for one in found[:20]
    )
    return f'{head}<div class="grid"><div>{pairs}</div><div>{hard}</div></div>{examples}'


def _telling(found: exploration.WordCounts, classes: Sequence[str]) -> str:
    ranked = sorted(range(len(classes)), key=lambda place: (-found.texts[place], classes[place]))
    shown = ranked[:_CLASSES_TOLD]
    explained = (
        '<p class="soft">Words that stand in more texts of the class than of the others: shares of '
        "texts here and elsewhere, and the difference in standard errors (z).</p>"
    )
    if len(classes) > 8:
        rows = [
            [
                escape(short(classes[place], 40)),
                escape(
                    ", ".join(
                        f"{w.word} ({w.z:.1f})" for w in exploration.telling_words(found, place, 8)
                    )
                ),
            ]
            for place in shown
        ]
        left = len(classes) - len(shown)
        note = f'<p class="soft">{left:,} smaller classes are left out.</p>' if left else ""
        return explained + table(["class", "words (z)"], rows, texts=(1,), tall=True) + note
    tables = []
    for place in shown:
        words = exploration.telling_words(found, place, 15)
        told = table(
            [escape(short(classes[place], 40)), "here", "elsewhere", "z"],
            [[escape(w.word), percent(w.here), percent(w.there), f"{w.z:.1f}"] for w in words],
            (1, 2, 3),
        )
        tables.append(f"<div>{told}</div>")
    return f'{explained}<div class="grid">{"".join(tables)}</div>'


def _shifts(parts: Mapping[str, Split], texts: Sequence[str], of_part: Any) -> list[str]:
    if "train" not in parts or len(parts) < 2:
        return []
    found = exploration.count_words(texts, of_part, len(parts))
    rows, told = [], []
    for place, (name, split) in enumerate(parts.items()):
        if name == "train":
            continue
        one = exploration.shift(name, place, split, parts["train"], found, of_part)
        rows.append(
            [
                _NAMES[name], _p(one.labels_p), _p(one.lengths_p),
                f"{len(one.more) + len(one.less):,}",
            ]
        )  # fmt: skip
        for title, words in (("more in", one.more), ("less in", one.less)):
            if words:
                listed = ", ".join(
                    f"{w.word} ({percent(w.here if title == 'more in' else w.there)} against "
                    f"{percent(w.there if title == 'more in' else w.here)})"
                    for w in words
                )
                told.append(f"<p>{title} {_NAMES[name]} than in train: {escape(listed)}</p>")
    return [
        "<h2>Drift between splits</h2>",
        table(["against train", "labels, p", "lengths, p", "words that moved"], rows, (1, 2, 3)),
        '<p class="soft">p: how often splits drawn from the same rows differ that much (labels: '
        "chi-squared; lengths: Kolmogorov-Smirnov). Words: beyond chance at one in a hundred, "
        "corrected for the number of words.</p>",
        *told,
    ]


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f'<span class="{"bad" if value < 0.01 else "soft"}">{number(value)}</span>'
