"""The challenger in the shadow, as a worker knows it: told what the champion said, never asked.

Another process scores, at the lowest priority, with a model that may be slow, broken or large: it
has no lock and no memory in common with who answers. What goes there is written a few times a
second, after the answers, once what went before is done; what does not fit meanwhile is dropped and
counted. What comes back is how many texts are done, and a file that `sentiment.shadow` reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic_core import to_json

from sentiment import shadow
from sentiment.errors import SentimentError
from serve.claim import Claim, fingerprint

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from sentiment.scorer import Prediction, Predictions
    from serve.model import LoadedModel

logger = logging.getLogger("sentiment.serve")

FLUSH_SECONDS = 0.1
# Of one flush; a thousand texts a second are more than anybody needs to compare two models.
MAX_TEXTS = 100
MAX_CHARACTERS = 400_000
# So long over one flush: the challenger is too slow for this machine, or stands still.
BEHIND_SECONDS = 5.0
# Answers of people are few and worth much: so many wait.
MAX_ANSWERS = 1_000
FRESH_SECONDS = 1.0
_LONGEST_PAUSE = 60.0
_STOP_SECONDS = 2.0


class _Seen(NamedTuple):
    at: float
    model: LoadedModel
    text: str
    label: str
    probabilities: Sequence[float]
    withheld: bool


class Shadow(Collector):
    """What one worker tells its shadow process, and what the shadow's file tells of all workers.

    Parameters
    ----------
    reference : str
        The challenger: an alias, a digest or a scorer directory.
    output_dir : Path
    registry : CollectorRegistry
        Where the counter is registered.
    """

    def __init__(self, reference: str, output_dir: Path, registry: CollectorRegistry) -> None:
        self.reference = reference
        self.file = shadow.shadow_file(output_dir)
        self.model: LoadedModel | None = None
        self.dropped = Counter(
            "sentiment_shadow_dropped_total",
            "Texts that the challenger was not shown: it did not keep up.",
            registry=registry,
        )
        self._seen: deque[_Seen] = deque()
        self._characters = 0
        self._answers: deque[dict[str, Any]] = deque(maxlen=MAX_ANSWERS)
        self._process: asyncio.subprocess.Process | None = None
        self._told_at: float | None = None  # when what is not done yet was told
        self._lock = Lock()
        self._found: tuple[float, dict[str, Any] | None] = (0.0, None)

    def swapped(self, model: LoadedModel) -> None:
        """Compare with another champion from now on."""
        self.model = model
        self._found = (0.0, None)

    def add_one(self, model: LoadedModel, text: str, found: Prediction) -> None:
        """Note what the champion said of one text."""
        self._add(model, text, found.label, found.probabilities, found.confidence)

    def add(self, model: LoadedModel, texts: Sequence[str], pieces: Sequence[Predictions]) -> None:
        """Note what the champion said of many texts."""
        start = 0
        for piece in pieces:
            part = texts[start : start + len(piece)]
            start += len(piece)
            for place, (text, label) in enumerate(zip(part, piece.labels, strict=True)):
                if len(self._seen) >= MAX_TEXTS:
                    self.dropped.inc(len(part) - place)
                    break
                probabilities = piece.probabilities[place].tolist()
                self._add(model, text, label, probabilities, float(piece.confidence[place]))

    def _add(
        self,
        model: LoadedModel,
        text: str,
        label: str,
        probabilities: Sequence[float],
        confidence: float,
    ) -> None:
        if len(self._seen) >= MAX_TEXTS or self._characters + len(text) > MAX_CHARACTERS:
            self.dropped.inc()
            return
        self._characters += len(text)
        withheld = model.scorer.decision.unsure(confidence)
        self._seen.append(_Seen(time.time(), model, text, label, probabilities, withheld))

    def answered(self, claim: Claim, label: str) -> None:
        """Note the true label of a prediction."""
        self._answers.append(
            {
                "fingerprint": f"{claim.fingerprint:016x}",
                "champion": claim.digest,
                "at": claim.time,
                "label": label,
            }
        )

    async def run(self) -> None:
        """Keep the other process running and told, until cancelled."""
        pause = 1.0
        try:
            while True:
                started = time.monotonic()
                try:
                    await self._accompany()
                except Exception:  # whatever it is, it concerns the shadow alone
                    logger.exception("the shadow process cannot be told")
                    await self._end()
                self._forget()
                if time.monotonic() - started > _LONGEST_PAUSE:
                    pause = 1.0
                logger.warning("the shadow process ended; again in %.0f s", pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            await self._end()

    async def _accompany(self) -> None:
        """Start the process and tell it what is seen, until it ends."""
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "serve.process.shadow"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        took = 0.0
        while True:
            # As long a pause as it took: where the processor is busy, or what containers are given
            # of it is, half of the time is left alone.
            await asyncio.sleep(max(FLUSH_SECONDS, took))
            if process.returncode is not None or process.stdin.is_closing():
                await process.wait()
                return
            line, n_left = self._line()
            self._told_at = time.monotonic()
            try:
                # Nothing to tell: it is time to look for another challenger.
                process.stdin.write(line)
                while True:
                    done = await process.stdout.readline()
                    if not done:
                        await process.wait()
                        return
                    n_left -= int(done)
                    if n_left <= 0:
                        break
            finally:
                took = time.monotonic() - self._told_at
                self._told_at = None
                self.dropped.inc(max(n_left, 0))

    def _line(self) -> tuple[bytes, int]:
        """Return what is to be told next, and how many texts that are."""
        seen, self._seen, self._characters = self._seen, deque(), 0
        answers = [self._answers.popleft() for _ in range(len(self._answers))]
        texts = [
            {
                "at": one.at,
                "champion": one.model.digest,
                "fingerprint": f"{fingerprint(one.text):016x}",
                "text": one.text,
                "label": one.label,
                "labels": one.model.labels,
                "probabilities": one.probabilities,
                "withheld": one.withheld,
            }
            for one in seen
        ]
        return to_json({"texts": texts, "answers": answers}) + b"\n", len(texts)

    def _forget(self) -> None:
        """Drop what was seen meanwhile; answers of people wait."""
        self.dropped.inc(len(self._seen))
        self._seen.clear()
        self._characters = 0

    async def _end(self) -> None:
        """Let the process end: without anything to read it does."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _trouble(self) -> tuple[str, str] | None:
        """Return what the process cannot write down itself: status and reason."""
        process, told = self._process, self._told_at
        if process is not None and process.returncode is not None:
            return "stopped", "its process ended and is started again; see the log"
        if told is not None and time.monotonic() - told > BEHIND_SECONDS:
            return "behind", (
                f"its process has not answered for more than {BEHIND_SECONDS:g} s: "
                "the challenger is slow to load or to score"
            )
        return None

    def document(self) -> dict[str, Any]:
        """Return what ``GET /model/shadow`` answers; at most a second old.

        Raises
        ------
        DataError
            The file cannot be read.
        """
        when, found = self._found
        if found is not None and time.monotonic() - when < FRESH_SECONDS:
            return found
        with self._lock:
            champion = self.model
            assert champion is not None
            challenger = shadow.read_challenger(self.file)
            if challenger is None or challenger.reference != self.reference:
                challenger = shadow.Challenger(self.reference, "waiting", "its process starts")
            if (trouble := self._trouble()) is not None:
                challenger = replace(challenger, status=trouble[0], reason=trouble[1])
            found = self._document(champion, challenger)
            self._found = (time.monotonic(), found)
        return found

    def _document(self, champion: LoadedModel, challenger: shadow.Challenger) -> dict[str, Any]:
        known = set(challenger.labels)
        document: dict[str, Any] = {
            "champion": {
                "name": champion.name,
                "version": champion.version,
                "digest": champion.digest,
            },
            "challenger": {
                "reference": challenger.reference,
                "status": challenger.status,
                "reason": challenger.reason or None,
                "name": challenger.name,
                "version": challenger.version,
                "digest": challenger.digest,
            },
            "counts": shadow.read_counts(self.file),
        }
        if challenger.digest is None:
            return document
        found = shadow.compare(self.file, champion.digest, challenger.digest)
        answered = found.answered
        return {
            **document,
            "same_model": challenger.digest == champion.digest,
            "labels": {
                "shared": [label for label in champion.labels if label in known],
                "champion_only": [label for label in champion.labels if label not in known],
                "challenger_only": sorted(known - set(champion.labels)),
            },
            "window": {
                "size": shadow.WINDOW,
                "texts": found.n,
                "not_comparable": found.n_other,
                "withheld": found.withheld,
                "since": None if found.since is None else datetime.fromtimestamp(found.since, UTC),
            },
            "agreement": found.agreement,
            "answers": [{"champion": a, "challenger": b, "texts": n} for a, b, n in found.labels],
            "scores": found.quantiles,
            "feedback": {
                "texts": answered.n,
                "champion_accuracy": answered.champion,
                "challenger_accuracy": answered.challenger,
                "both_right": answered.both,
                "only_champion_right": answered.only_champion,
                "only_challenger_right": answered.only_challenger,
                "champion_withheld": answered.withheld_champion,
                "challenger_withheld": answered.withheld_challenger,
            },
            "strongest": shadow.strongest(self.file, champion.digest, challenger.digest),
        }

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; nothing of a comparison that has no texts."""
        if self.model is None:
            return
        try:
            found = self.document()
        except SentimentError as error:
            logger.warning("no figures of the shadow: %s", error)
            return
        challenger = found["challenger"]
        up = GaugeMetricFamily(
            "sentiment_shadow_up", "Whether the challenger scores.", labels=["version"]
        )
        up.add_metric([str(challenger["version"] or "")], float(challenger["status"] == "scoring"))
        yield up
        counted = CounterMetricFamily(
            "sentiment_shadow_texts",
            "Texts that the challenger scored, or failed to score.",
            labels=["result"],
        )
        for result in ("scored", "failed"):
            counted.add_metric([result], found["counts"][result])
        yield counted
        window = found.get("window")
        if window is None:
            return
        yield GaugeMetricFamily(
            "sentiment_shadow_window_texts",
            "Texts that agreement and scores are of.",
            value=window["texts"],
        )
        if found["agreement"] is not None:
            yield GaugeMetricFamily(
                "sentiment_shadow_agreement_ratio",
                "Share of texts to which champion and challenger give the same label.",
                value=found["agreement"],
            )
        scores = GaugeMetricFamily(
            "sentiment_shadow_score",
            "Quantiles of the probability of one label: with two labels of the second, else of "
            "the champion's answer.",
            labels=["model", "quantile"],
        )
        for model, quantiles in found["scores"].items():
            for quantile, value in quantiles.items():
                scores.add_metric([model, quantile], value)
        yield scores
        feedback = found["feedback"]
        yield GaugeMetricFamily(
            "sentiment_shadow_feedback_texts",
            "Texts with a true label that both models answered.",
            value=feedback["texts"],
        )
        accuracy = GaugeMetricFamily(
            "sentiment_shadow_feedback_accuracy_ratio",
            "Accuracy of both models on the same texts, of those that feedback answered.",
            labels=["model"],
        )
        for model in ("champion", "challenger"):
            value = feedback[f"{model}_accuracy"]
            if value is not None:
                accuracy.add_metric([model], value)
        yield accuracy
