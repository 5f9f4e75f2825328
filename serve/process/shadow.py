"""The process in the shadow: scores with the challenger what the champion has answered.

Reads lines of JSON that `serve.shadow` writes, says how many texts of each are done, and ends when
there are no more or nobody listens. The event loop, the lock and the memory of who answers are in
another process; this one takes what they leave.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from sentiment.errors import SentimentError
from sentiment.scorer import Predictions
from sentiment.scorer.decision import Decision
from sentiment.shadow import Challenger, Pair, ShadowStore, shadow_file
from serve.model import LoadedModel, ModelHolder
from serve.process.json_log import configure_logging
from serve.settings import load_settings

logger = logging.getLogger("sentiment.serve")

# Another worker's process writes the pair that an answer is about, and may be slower: so many
# answers wait for theirs, so long.
MAX_WAITING = 1_000
WAIT_SECONDS = 60.0
_AT_ONCE = 16  # texts: what was seen is written often, however slow the challenger is


class Predictor(Protocol):
    """What can score."""

    labels: tuple[str, ...]
    decision: Decision

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Score texts."""
        ...


def pairs_of(contender: Predictor, digest: str, texts: Sequence[dict[str, Any]]) -> list[Pair]:
    """Score texts and pair each answer with the champion's.

    Parameters
    ----------
    contender : Predictor
        The challenger.
    digest : str
        Its own.
    texts : sequence of dict
        As `serve.shadow` writes them.
    """
    found = contender.predict([one["text"] for one in texts])
    mine = {label: place for place, label in enumerate(contender.labels)}
    withheld = contender.decision.unsure(found.confidence).tolist()
    pairs = []
    rows = zip(texts, found.labels, found.probabilities.tolist(), withheld, strict=True)
    for one, label, probabilities, unsure in rows:
        theirs = dict(zip(one["labels"], one["probabilities"], strict=True))
        # With two labels one of them tells all; with more, the one that was answered.
        about = one["labels"][1] if len(theirs) == 2 else one["label"]
        shared = about in mine
        pairs.append(
            Pair(
                at=one["at"],
                fingerprint=one["fingerprint"],
                champion=one["champion"],
                challenger=digest,
                label_champion=one["label"],
                label_challenger=label,
                score_champion=theirs[about],
                score_challenger=probabilities[mine[about]] if shared else 0.0,
                comparable=shared and one["label"] in mine and label in theirs,
                withheld_champion=one["withheld"],
                withheld_challenger=unsure,
                text=one["text"],
            )
        )
    return pairs


class Shade:
    """The challenger, and the file that its answers go to.

    Parameters
    ----------
    holder : ModelHolder
        Of the challenger.
    store : ShadowStore
    """

    def __init__(self, holder: ModelHolder, store: ShadowStore) -> None:
        self.holder = holder
        self.store = store
        self.problem = ""
        self._described: Challenger | None = None
        self._waiting: deque[tuple[float, dict[str, Any]]] = deque(maxlen=MAX_WAITING)
        self._look_at = 0.0

    def look(self) -> None:
        """Take another challenger where there is one, and write down how it stands."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + max(self.holder.reload_seconds / 4, 0.2)
            self.holder.look()
            if self.store.is_gone():
                logger.warning("%s is gone: begun anew", self.store.path)
                self.store, self._described = self.store.again(), None
            self._answer([self._waiting.popleft() for _ in range(len(self._waiting))])
        self._describe()

    def hear(self, line: dict[str, Any], done: Callable[[int], object]) -> None:
        """Score what the champion answered, then note what people said of it.

        Parameters
        ----------
        line : dict
            As `serve.shadow` writes it.
        done : callable
            Told of every few texts that they are scored, or could not be; once at least.
        """
        texts, model = line["texts"], self.holder.current
        if model is None or not texts:
            done(len(texts))
        else:
            for start in range(0, len(texts), _AT_ONCE):
                part = texts[start : start + _AT_ONCE]
                self._compare(model, part)
                done(len(part))
        until = time.monotonic() + WAIT_SECONDS
        self._answer([(until, answer) for answer in line["answers"]])

    def _compare(self, model: LoadedModel, texts: Sequence[dict[str, Any]]) -> None:
        try:
            pairs = []
            for one in texts:
                pairs += pairs_of(model.scorer, model.digest, [one])
                # Who waits for the processor has it: not every kernel takes it from a process at once.
                os.sched_yield()
        except Exception as error:
            if not self.problem:
                logger.exception("the challenger cannot score")
            self.problem = f"{type(error).__name__}; see the log"
            self.store.add([], len(texts))
        else:
            self.problem = ""
            self.store.add(pairs)

    def _answer(self, answers: Sequence[tuple[float, dict[str, Any]]]) -> None:
        """Write what people said beside the pairs; what has no pair yet waits for it."""
        for until, answer in answers:
            if not self.store.answer(**answer) and time.monotonic() < until:
                self._waiting.append((until, answer))

    def _describe(self) -> None:
        model = self.holder.current
        status, reason = "scoring", ""
        if self.holder.problem:
            inside = f"{self.holder.output_dir}{os.sep}"  # clients need not know where this lies
            status, reason = "refused", self.holder.problem.replace(inside, "")
        elif model is None:
            status, reason = "waiting", f"there is no {self.holder.reference} here yet"
        elif self.problem:
            status, reason = "failing", self.problem
        about = Challenger(
            str(self.holder.reference),
            status,
            reason,
            *((model.digest, model.name, model.version, list(model.labels)) if model else ()),
        )
        if about != self._described:
            self.store.describe(about)
            self._described = about


def step_back() -> None:
    """Take only what other processes leave of processor and memory."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):  # where memory ends, this process does first
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def main() -> int:
    """Score until there is nothing more to read."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who writes to this process ends it
    step_back()
    # What a library prints must not be read as a number of texts.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    settings = load_settings()
    configure_logging(settings.log_level)
    reference = settings.shadow_pointer
    if reference is None:
        return 2
    holder = ModelHolder(
        settings.output_dir,
        reference,
        settings.reload_model or 5.0,
        role="the challenger is",
        shared=settings.metrics_dir and settings.metrics_dir / "challenger",
    )
    try:
        store = ShadowStore(shadow_file(settings.output_dir), keep_texts=settings.shadow_texts)
        shade = Shade(holder, store)
        shade.look()
        for line in sys.stdin.buffer:
            shade.look()
            shade.hear(json.loads(line), lambda n: print(n, file=answers, flush=True))
        shade.store.close()
    except BrokenPipeError:  # who wrote is gone
        return 0
    except SentimentError as error:
        logger.error("shadow: %s", error)  # noqa: TRY400 - the message says it all
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
