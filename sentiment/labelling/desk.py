"""Who is asked what: the pool, the answers, the model between them, and the windows that ask."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.errors import DataError, Parameter, UsageError
from sentiment.labelling.choosing import RANDOM_EVERY, choose
from sentiment.labelling.learner import Estimate, Learner

if TYPE_CHECKING:
    from sentiment.labelling.answers import AnswerFile
    from sentiment.scorer.model import Scorer

log = logging.getLogger(__name__)

MOST_CANDIDATES = 50_000
"""Of a larger pool so many texts, drawn at random, may be asked for: a person answers fewer."""
_LEASE_SECONDS = 1800.0
_GIVEN = "given"
_RANDOM = "random"


@dataclass(frozen=True)
class Item:
    """A text that may be asked for.

    Attributes
    ----------
    text : str
    about : mapping of str to object
        What is shown with it and kept with the answer: ``row``, ``given``, ``suggested``, …
    """

    text: str
    about: Mapping[str, Any] = field(default_factory=dict)


class Desk:
    """Hands out texts and takes answers; every method may be called from any thread.

    Parameters
    ----------
    items : sequence of Item
    labels : sequence of str
        Two or more.
    answers : AnswerFile
        What was answered before is not asked again.
    labelled : sequence of (str, str)
        Texts with labels from elsewhere: learned from, not asked for.
    strategy : str
        One of `choosing.STRATEGIES`, or ``given`` for the order of the items.
    batch : int
        New answers after which the model learns again, and texts that it then chooses.
    seed : int

    Raises
    ------
    UsageError, DataError
        There are fewer than two labels, no text, or answers with another label.
    """

    def __init__(
        self,
        items: Sequence[Item],
        labels: Sequence[str],
        answers: AnswerFile,
        *,
        labelled: Sequence[tuple[str, str]] = (),
        strategy: str = "diverse",
        batch: int = 10,
        seed: int = 42,
    ) -> None:
        self.labels = list(labels)
        for label, times in Counter(labels).items():
            if times > 1:
                raise UsageError(
                    Parameter("labels", ",".join(labels)), f": {label!r} stands there {times} times"
                )
        if len(self.labels) < 2:
            raise UsageError(
                "labelling needs two labels or more: ", Parameter("labels", "negative,positive")
            )
        for row in answers.rows:
            if row.get("label") is not None and row["label"] not in self.labels:
                raise DataError(
                    f"{answers.path} holds the label {row['label']!r}, which is none of "
                    f"{', '.join(self.labels)}: name it too, or write another file"
                )
        self.answers, self.strategy, self.batch = answers, strategy, batch
        self._random = np.random.default_rng(seed)
        self.n_pool = len(items)
        if len(items) > MOST_CANDIDATES:
            drawn = np.sort(self._random.choice(len(items), MOST_CANDIDATES, replace=False))
            items = [items[i] for i in drawn]
            log.warning(
                "%d of %d texts, drawn at random, may be asked for", len(items), self.n_pool
            )
        answered = {row["text"] for row in answers.rows} | {text for text, _ in labelled}
        self.items = list({item.text: item for item in items if item.text.strip()}.values())
        if not self.items:
            raise DataError("there is no text to label")
        self._place = {item.text: i for i, item in enumerate(self.items)}
        self._open = {i for i, item in enumerate(self.items) if item.text not in answered}
        self._outside = [pair for pair in labelled if pair[1] in self.labels]
        self._leases: dict[str, tuple[int, str, float]] = {}  # of a window: place, why, until
        self._queue: list[tuple[int, str]] = []
        self._scorer: Scorer | None = None
        self._scores: Any = None
        self._learner: Learner | None = None
        self._seed = seed
        self._taught = -1
        self.points: list[Estimate] = []
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._learn, daemon=True, name="learner")

    def start(self) -> None:
        """Begin to learn in the background."""
        self._thread.start()
        self._wake.set()

    def stop(self) -> None:
        """End the background work."""
        self._stopped = True
        self._wake.set()

    def next(self, window: str) -> dict[str, Any] | None:
        """Return the text that a window is to ask for, the same until it is answered; None at the end.

        Parameters
        ----------
        window : str
            Names it. No two windows are given the same text.
        """
        with self._lock:
            held = self._leases.get(window)
            if held is None or held[0] not in self._open:
                found = self._take()
                if found is None:
                    return None
                held = (*found, 0.0)
            place, why, _ = held
            self._leases[window] = (place, why, time.monotonic() + _LEASE_SECONDS)
            item, scorer = self.items[place], self._scorer
        return {
            "id": place, "text": item.text, "why": why, "about": dict(item.about),
            **self._explained(scorer, item.text),
        }  # fmt: skip

    def _explained(self, scorer: Scorer | None, text: str) -> dict[str, Any]:
        """Return which characters speak for which label, and how strongly."""
        if scorer is None:
            return {"marks": [], "guess": None}
        found = scorer.explain(text)
        marks: dict[tuple[int, int], tuple[str, float]] = {}
        for part in found.contributions:
            if " " in part.ngram:  # single words are coloured: runs would cover one another
                continue
            number = int(np.argmax(part.scores)) if len(part.scores) > 1 else 0
            weight = part.scores[number]
            label = found.score_labels[number]
            if len(part.scores) == 1 and weight < 0:
                label = next(other for other in scorer.labels if other != label)
            for start, end in part.spans:
                marks[start, end] = (label, abs(weight))
        strongest = max((weight for _, weight in marks.values()), default=1.0) or 1.0
        return {
            "marks": [
                [start, end, label, round(weight / strongest, 3)]
                for (start, end), (label, weight) in sorted(marks.items())
            ],
            "guess": {"label": found.label, "probability": found.probabilities[found.label]},
        }

    def _take(self) -> tuple[int, str] | None:
        """Return an open text that nobody else has."""
        now = time.monotonic()
        self._leases = {w: held for w, held in self._leases.items() if held[2] > now}
        taken = {place for place, _, _ in self._leases.values()}
        for _ in range(2):
            while self._queue:
                place, why = self._queue.pop(0)
                if place in self._open and place not in taken:
                    return place, why
            self._fill(taken)
        return None

    def _fill(self, taken: set[int]) -> None:
        open_ = np.array(sorted(self._open - taken), dtype=np.int64)
        if not len(open_):
            return
        if self.strategy == _GIVEN:
            self._queue = [(int(i), _GIVEN) for i in open_]
            return
        strategy = _RANDOM if self._scores is None else self.strategy
        X = None if self._learner is None else self._learner.X
        chosen = choose(strategy, self._scores, X, open_, self.batch, self._random)
        queue = [(int(i), strategy) for i in chosen]
        if strategy != _RANDOM:
            drawn = choose(_RANDOM, None, None, open_, -(-self.batch // RANDOM_EVERY), self._random)
            for number, i in enumerate(drawn):
                queue.insert((number + 1) * RANDOM_EVERY - 1, (int(i), _RANDOM))
        self._queue = queue

    def answer(
        self, window: str, place: int, label: str | None, *, status: str, annotator: str, note: str
    ) -> dict[str, Any]:
        """Take an answer; it is on the disk when this returns.

        Parameters
        ----------
        window : str
        place : int
            The ``id`` of the text.
        label : str or None
            None where ``status`` says why.
        status : {"labelled", "skipped", "unsure"}
        annotator, note : str

        Raises
        ------
        DataError
            It is no answer, or the text has been answered: a second window, or a second click.
        """
        if (label is None) == (status == "labelled") or (
            label is not None and label not in self.labels
        ):
            raise DataError(f"{label!r} is none of the labels {', '.join(self.labels)}")
        with self._lock:
            if not 0 <= place < len(self.items):
                raise DataError(f"there is no text {place}")
            if place not in self._open:
                raise DataError("this text has been answered already")
            held = self._leases.get(window)
            why = held[1] if held is not None and held[0] == place else "asked"
            item = self.items[place]
            row = {
                "text": item.text, "label": label, "status": status, "annotator": annotator,
                "note": note, "chosen": why, "at": datetime.now(UTC).isoformat(timespec="seconds"),
                **item.about,
            }  # fmt: skip
            self.answers.add(row)
            self._open.discard(place)
            self._leases.pop(window, None)
            if self._n_new() >= self.batch or self._scorer is None:
                self._wake.set()
        return row

    def undo(self, window: str, annotator: str) -> bool:
        """Take back the last answer of an annotator, and ask its text again; whether there was one."""
        with self._lock:
            for row in reversed(self.answers.rows):
                if row.get("annotator") == annotator and row["text"] in self._place:
                    self.answers.take_back(row)
                    place = self._place[row["text"]]
                    self._open.add(place)
                    until = time.monotonic() + _LEASE_SECONDS
                    self._leases[window] = (place, row.get("chosen", _GIVEN), until)
                    return True
        return False

    def state(self) -> dict[str, Any]:
        """Return how far it is."""
        with self._lock:
            rows = self.answers.rows
            counts = dict.fromkeys(self.labels, 0)
            for row in rows:
                if row.get("label") in counts:
                    counts[row["label"]] += 1
            return {
                "labels": self.labels, "counts": counts, "answered": len(rows),
                "open": len(self._open), "pool": self.n_pool, "output": self.answers.path.name,
                "strategy": self.strategy, "learned": max(self._taught, 0),
                "points": [point.to_dict() for point in self.points],
            }  # fmt: skip

    def _known(self) -> list[tuple[str, str, bool]]:
        """Return text, label and whether drawn at random, of everything that can be learned from."""
        rows = [
            (row["text"], row["label"], row.get("chosen") == _RANDOM)
            for row in self.answers.rows
            if row.get("label") is not None
        ]
        return [*rows, *((text, label, False) for text, label in self._outside)]

    def _n_new(self) -> int:
        return len(self._known()) - max(self._taught, 0)

    def _learn(self) -> None:
        while not self._stopped:
            self._wake.wait()
            self._wake.clear()
            if self._stopped:
                return
            try:
                self.learn()
            except Exception:
                # Whoever labels goes on: texts are then drawn at random, and nothing is lost.
                log.exception("the model could not learn")

    def learn(self) -> None:
        """Learn from all answers now; what the thread does whenever there are enough new ones."""
        if self._learner is None:
            self._learner = Learner([item.text for item in self.items], self._seed)
        learner = self._learner
        with self._lock:
            known = self._known()
        labels = [label for _, label, _ in known]
        if len(set(labels)) < 2 or len(known) == self._taught:
            return
        X = learner.vectorizer.transform([text for text, _, _ in known])
        model = learner.taught(X, labels)
        scores = model.decision_function(learner.X)
        point = learner.estimate(X, labels, np.array([drawn for _, _, drawn in known]))
        scorer = learner.compiled(
            learner.fit(X, labels, calibrated=min(map(labels.count, set(labels))) > 1),
            [item.text for item in self.items[:20]],
        )
        with self._lock:
            self._scores, self._scorer, self._taught = scores, scorer, len(known)
            self.points.append(point)
            self._queue = []  # what was chosen by an older model
