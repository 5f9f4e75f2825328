"""From texts to predictions: at once when that is quick, else off the event loop.

One review takes a fraction of a millisecond, less than handing it to a thread; it is scored
where it was read. Those that are read in the same turn of the event loop are scored together,
which takes half the time for each; nobody waits for company. Long texts and batches go through a
few threads, in pieces small enough that the deadline is looked at often and that the event loop
gets its turn.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from sentiment.scorer import Prediction, Predictions
from serve.problems import ApiError, overloaded

if TYPE_CHECKING:
    from serve.model import LoadedModel

logger = logging.getLogger("sentiment.serve")

# Characters: about a millisecond of scoring, and about ten.
INLINE_CHARACTERS = 8_000
PIECE_CHARACTERS = 60_000
PIECE_TEXTS = 64
# Of single texts scored together: about two milliseconds. Fewer than the last are quicker alone.
GATHER_CHARACTERS = 32_000
GATHER_TEXTS = 32
GATHER_LEAST = 4

T = TypeVar("T")


class _Gathered(NamedTuple):
    """One text that waits for the end of the loop's turn."""

    model: LoadedModel
    text: str
    deadline: float
    found: asyncio.Future[Prediction]


class Scoring:
    """Scores texts with a bounded number of threads and a bounded queue before them.

    Parameters
    ----------
    threads : int
        Large requests worked on at once.
    queue_size : int
        Large requests that wait; one more is refused.
    """

    def __init__(self, threads: int, queue_size: int) -> None:
        self.queue_size = queue_size
        self.waiting = 0
        self._gathered: deque[_Gathered] = deque()
        self._slots = asyncio.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="score")

    async def predict(
        self, model: LoadedModel, texts: Sequence[str], deadline: float, *, alone: bool = True
    ) -> list[Predictions]:
        """Score texts in order, all with the same model.

        Parameters
        ----------
        model : LoadedModel
        texts : sequence of str
        deadline : float
            In ``time.perf_counter()`` seconds.
        alone : bool
            Whether no other request is there to be scored with a single text.

        Returns
        -------
        list of Predictions
            One or more pieces, in the order of the texts.

        Raises
        ------
        ApiError
            ``timeout`` past the deadline; ``overloaded`` when too many requests wait.
        """
        if len(texts) == 1:
            return [_as_many(await self.predict_one(model, texts[0], deadline, alone=alone))]
        check_deadline(deadline)
        if sum(map(len, texts)) <= INLINE_CHARACTERS:
            return [model.scorer.predict(texts)]
        done: list[Predictions] = []
        async with self._slot(deadline):
            for piece in _pieces(texts):
                check_deadline(deadline)
                done.append(await self._in_thread(model.scorer.predict, piece))
        return done

    async def predict_one(
        self, model: LoadedModel, text: str, deadline: float, *, alone: bool
    ) -> Prediction:
        """Score one text, together with those that other requests bring in this turn of the loop.

        Parameters
        ----------
        model : LoadedModel
        text : str
        deadline : float
            In ``time.perf_counter()`` seconds.
        alone : bool
            Whether no other request is there: then nothing is waited for.

        Raises
        ------
        ApiError
            ``timeout`` past the deadline; ``overloaded`` when too many requests wait.
        """
        if alone or len(text) > INLINE_CHARACTERS:
            return await self.run(model.scorer.predict_one, text, deadline=deadline)
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Prediction] = loop.create_future()
        if not self._gathered:
            loop.call_soon(self._score_gathered, loop)
        self._gathered.append(_Gathered(model, text, deadline, found))
        return await found

    def _score_gathered(self, loop: asyncio.AbstractEventLoop) -> None:
        """Score the first of those that wait; the rest in the next turn."""
        waiting = self._gathered
        model = waiting[0].model  # what came before a swap is scored by the model of then
        size = 0
        group: list[_Gathered] = []
        now = time.perf_counter()
        while waiting and len(group) < GATHER_TEXTS and waiting[0].model is model:
            size += len(waiting[0].text)
            if group and size > GATHER_CHARACTERS:
                break
            entry = waiting.popleft()
            if entry.found.done():
                continue  # whoever asked has gone
            if now > entry.deadline:
                entry.found.set_exception(_timeout())
            else:
                group.append(entry)
        if waiting:
            loop.call_soon(self._score_gathered, loop)
        for entry, answer in zip(group, _score(model, group), strict=True):
            if isinstance(answer, Exception):
                entry.found.set_exception(answer)
            else:
                entry.found.set_result(answer)

    async def run(self, work: Callable[..., T], text: str, *rest: Any, deadline: float) -> T:
        """Call ``work(text, *rest)``, in a thread when the text is long."""
        check_deadline(deadline)
        if len(text) <= INLINE_CHARACTERS:
            return work(text, *rest)
        async with self._slot(deadline):
            check_deadline(deadline)
            return await self._in_thread(work, text, *rest)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _slot(self, deadline: float) -> _Slot:
        return _Slot(self, deadline)

    async def _in_thread(self, work: Callable[..., T], *values: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *values)


class _Slot:
    """A place at a thread: waits for it no longer than the deadline allows."""

    def __init__(self, scoring: Scoring, deadline: float) -> None:
        self.scoring = scoring
        self.deadline = deadline

    async def __aenter__(self) -> None:
        scoring = self.scoring
        if not scoring._slots.locked():
            await scoring._slots.acquire()
            return
        if scoring.waiting >= scoring.queue_size:
            raise overloaded()
        scoring.waiting += 1
        try:
            async with asyncio.timeout(self.deadline - time.perf_counter()):
                await scoring._slots.acquire()
        except TimeoutError:
            raise ApiError("timeout") from None
        finally:
            scoring.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self.scoring._slots.release()


def _as_many(one: Prediction) -> Predictions:
    return Predictions(
        [one.label],
        np.array([one.confidence]),
        np.array([one.probabilities]),
        np.array([one.scores]),
        np.array([one.n_tokens]),
        np.array([one.n_unknown]),
    )


def check_deadline(deadline: float) -> None:
    """Raise `ApiError` ``timeout`` when the deadline (perf_counter seconds) has passed."""
    if time.perf_counter() > deadline:
        raise _timeout()


def _timeout() -> ApiError:
    return ApiError("timeout", headers=((b"retry-after", b"1"),))


def _score(model: LoadedModel, group: Sequence[_Gathered]) -> Sequence[Prediction | Exception]:
    """Score texts of one model together; where that fails, each alone, so that one bears it."""
    if len(group) >= GATHER_LEAST:
        try:
            return model.scorer.predict_each([entry.text for entry in group])
        except Exception:
            logger.exception("texts cannot be scored together: scoring each alone")
    answers: list[Prediction | Exception] = []
    for entry in group:
        try:
            answers.append(model.scorer.predict_one(entry.text))
        except Exception as error:
            answers.append(error)
    return answers


def _pieces(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    start = 0
    size = 0
    for position, text in enumerate(texts):
        if position > start and (
            size + len(text) > PIECE_CHARACTERS or position - start >= PIECE_TEXTS
        ):
            yield texts[start:position]
            start, size = position, 0
        size += len(text)
    yield texts[start:]
