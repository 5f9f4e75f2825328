"""From texts to predictions: at once when that is quick, else off the event loop.

One review takes a fraction of a millisecond, less than handing it to a thread; it is scored
where it was read. Long texts and batches go through a few threads, in pieces small enough that
the deadline is looked at often and that the event loop gets its turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from sentiment.scorer import Prediction, Predictions
from serve.problems import ApiError, overloaded

if TYPE_CHECKING:
    from serve.model import LoadedModel

# Characters: about a millisecond of scoring, and about ten.
INLINE_CHARACTERS = 8_000
PIECE_CHARACTERS = 60_000
PIECE_TEXTS = 64

T = TypeVar("T")


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
        self._slots = asyncio.Semaphore(threads)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="score")

    async def predict(
        self, model: LoadedModel, texts: Sequence[str], deadline: float
    ) -> list[Predictions]:
        """Score texts in order, all with the same model.

        Parameters
        ----------
        model : LoadedModel
        texts : sequence of str
        deadline : float
            In ``time.perf_counter()`` seconds.

        Returns
        -------
        list of Predictions
            One or more pieces, in the order of the texts.

        Raises
        ------
        ApiError
            ``timeout`` past the deadline; ``overloaded`` when too many requests wait.
        """
        check_deadline(deadline)
        if sum(map(len, texts)) <= INLINE_CHARACTERS:
            if len(texts) == 1:
                return [_as_many(model.scorer.predict_one(texts[0]))]
            return [model.scorer.predict(texts)]
        done: list[Predictions] = []
        async with self._slot(deadline):
            for piece in _pieces(texts):
                check_deadline(deadline)
                done.append(await self._in_thread(model.scorer.predict, piece))
        return done

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
        raise ApiError("timeout", headers=((b"retry-after", b"1"),))


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
