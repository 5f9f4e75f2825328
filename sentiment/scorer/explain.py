"""Why a text scores as it does: what each n-gram adds, and where it stands in the text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from sentiment.scorer.explanation import Contribution, Explanation
from sentiment.scorer.origins import Span, origins
from sentiment.scorer.prediction import Floats, Predictions
from sentiment.scorer.view import HashView, NgramView, View, contributions
from sentiment.text.hashing import hash_columns, hash_ngrams
from sentiment.text.spec import TextSpec, clean, compile_pattern, spaced

_ROWS = 1 << 20  # weights that are looked at together


class LinearScorer(Protocol):
    """What an explanation needs of a scorer."""

    labels: tuple[str, ...]
    intercept: Floats
    views: list[View]

    def predict(self, texts: Iterable[str]) -> Predictions:
        """Score texts."""


class Strong(NamedTuple):
    """An n-gram of a text, and what it adds to each score."""

    ngram: str
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ClassFeature:
    """An n-gram and its weight towards one label (times its inverse document frequency)."""

    ngram: str
    weight: float


def score_labels(scorer: LinearScorer) -> tuple[str, ...]:
    """Return the label that each score speaks for."""
    return scorer.labels[1:] if len(scorer.intercept) == 1 else scorer.labels


def explain(scorer: LinearScorer, text: str, top: int | None = None) -> Explanation:
    """Explain one prediction; see `Scorer.explain`."""
    prediction = scorer.predict([text])
    items: list[Contribution] = []
    for view in scorer.views:
        found, _, _ = view.count([text])
        added = contributions(view, found, 1)
        places = occurrences(view, text)
        for row, count, scores in zip(
            found.rows.tolist(), found.counts.tolist(), added.tolist(), strict=True
        ):
            spans = places.get(row, [])
            ngram = _name(view, row, text, places)
            items.append(Contribution(ngram, round(abs(count)), tuple(scores), tuple(spans)))
    items = [item for item in items if any(item.scores)]
    items.sort(key=lambda item: (-max(map(abs, item.scores)), item.ngram))
    kept = items if top is None else items[:top]
    left_out = np.array([item.scores for item in items[len(kept) :]])
    rest = left_out.sum(axis=0) if len(left_out) else np.zeros(len(scorer.intercept))
    return Explanation(
        prediction.labels[0],
        dict(zip(scorer.labels, prediction.probabilities[0].tolist(), strict=True)),
        kept,
        tuple(rest.tolist()),
        tuple(scorer.intercept.tolist()),
        tuple(prediction.scores[0].tolist()),
        score_labels(scorer),
        text,
    )


def strongest(scorer: LinearScorer, texts: Sequence[str], top: int) -> list[list[Strong]]:
    """Return of each text what adds most to a score or takes most from it, the strongest first.

    As the contributions of `explain`, without the places in the text, whose search takes most of
    an explanation's time.

    Parameters
    ----------
    scorer : LinearScorer
    texts : sequence of str
    top : int
        How many of each text.
    """
    parts = []
    for view in scorer.views:
        found, _, _ = view.count(texts)
        added = contributions(view, found, len(texts))
        bounds = np.searchsorted(found.texts, np.arange(len(texts) + 1))
        parts.append((view, found.rows, added, np.abs(added).max(axis=1, initial=0.0), bounds))
    said = []
    for number, text in enumerate(texts):
        spans = [slice(bounds[number], bounds[number + 1]) for *_, bounds in parts]
        pairs = zip(parts, spans, strict=True)
        strength = np.concatenate([strong[span] for (*_, strong, _), span in pairs])
        # Of equals at the end the names decide, so that all of them are looked at.
        least = -np.partition(-strength, top - 1)[top - 1] if len(strength) > top else 0.0
        items: list[tuple[float, Strong]] = []
        for (view, rows, added, strong, _), span in zip(parts, spans, strict=True):
            places = occurrences(view, text) if isinstance(view, HashView) else {}
            for at in (np.flatnonzero(strong[span] >= max(least, 5e-324)) + span.start).tolist():
                name = _name(view, int(rows[at]), text, places)
                items.append((float(strong[at]), Strong(name, tuple(added[at].tolist()))))
        items.sort(key=lambda item: (-item[0], item[1].ngram))
        said.append([one for _, one in items[:top]])
    return said


def _name(view: View, row: int, text: str, places: Mapping[int, list[Span]]) -> str:
    """Return an n-gram; of hashed ones those of this text are known."""
    if isinstance(view, HashView) and row in places:
        return " | ".join(dict.fromkeys(text[start:end] for start, end in places[row]))
    return view.ngram(row)


def occurrences(view: View, text: str) -> dict[int, list[Span]]:
    """Return where each row's n-grams stand in the text as given."""
    tokens = token_spans(text, view.spec)
    places: dict[int, list[Span]] = {}
    if isinstance(view, NgramView):
        ids = view.token_ids(text)
        if len(ids) != len(tokens):  # a cleaning step that cannot be followed back
            return places
        positions, rows = view.find(ids)
        orders = [view.order(row) for row in rows.tolist()]
    else:
        words = view.tokens(text)
        if len(words) != len(tokens):
            return places
        positions, hashes = hash_ngrams(
            view.token_hashes(words), np.zeros(len(words), dtype=np.int32), view.spec
        )
        rows = hash_columns(hashes, len(view.values))[0].astype(np.int64)
        # N-grams come order by order, each order from left to right.
        orders = (view.spec.ngram_range[0] + np.cumsum(np.diff(positions, prepend=-1) < 0)).tolist()
    for position, order, row in zip(positions.tolist(), orders, rows.tolist(), strict=True):
        span = (tokens[position][0], tokens[min(position + order, len(tokens)) - 1][1])
        places.setdefault(row, []).append(span)
    return places


def token_spans(text: str, spec: TextSpec) -> list[Span]:
    """Return start and end of every token in the text as given.

    Cleaning is followed character by character: each character of the cleaned text remembers
    the place it came from.
    """
    cleaned = clean(text, spec)
    places = origins(text, spec)
    if len(places) != len(cleaned):
        return []
    ends = [end for _, end in places]
    starts = [start for start, _ in places]
    if spec.analyzer == "word":
        stop_words = frozenset(spec.stop_words or ())
        pattern = compile_pattern(spec.token_pattern, spec.marks)
        group = min(pattern.groups, 1)
        return [
            (starts[match.start(group)], ends[match.end(group) - 1])
            if match.end(group) > match.start(group)
            else (0, 0)
            for match in pattern.finditer(cleaned)
            if match.group(group) not in stop_words
        ]
    if spec.analyzer == "char":
        kept = _single_spaces(cleaned)
        return [(starts[place], ends[place]) for place in kept]
    spans: list[Span] = []
    for match in re.finditer(r"\S+", cleaned):
        first, last = match.start(), match.end()
        spans.append((starts[first], starts[first]))
        spans.extend((starts[place], ends[place]) for place in range(first, last))
        spans.append((ends[last - 1], ends[last - 1]))
    return spans if len(spans) == len(spaced(cleaned, spec)) else []


def _single_spaces(cleaned: str) -> list[int]:
    """Places of the characters that stay when runs of white space become one space."""
    dropped: set[int] = set()
    for match in re.finditer(r"\s\s+", cleaned):
        dropped.update(range(match.start() + 1, match.end()))
    return [place for place in range(len(cleaned)) if place not in dropped]


def top_features(scorer: LinearScorer, n: int = 20) -> dict[str, list[ClassFeature]]:
    """Return the strongest n-grams per label; see `Scorer.top_features`."""
    best: dict[str, list[ClassFeature]] = {label: [] for label in scorer.labels}
    for view in scorer.views:
        for first in range(0, len(view.values), _ROWS):
            weights = view.weights(slice(first, first + _ROWS))
            for number, label in enumerate(scorer.labels):
                column = -weights[:, 0] if len(scorer.intercept) == 1 else weights[:, number]
                if len(scorer.intercept) == 1 and number == 1:
                    column = -column
                rows = np.flatnonzero(column > 0)
                if len(rows) > n:
                    rows = rows[np.argpartition(-column[rows], n - 1)[:n]]
                best[label] += [
                    ClassFeature(view.ngram(first + row), float(column[row]))
                    for row in rows.tolist()
                ]
    return {
        label: sorted(features, key=lambda feature: (-feature.weight, feature.ngram))[:n]
        for label, features in best.items()
    }
