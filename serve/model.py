"""The model that is served: which one, how it is loaded, and how another takes its place."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sentiment.errors import ModelNotFoundError, SentimentError
from sentiment.files import stamp
from sentiment.patterns import check_patterns, patterns_of
from sentiment.scorer import Scorer
from sentiment.scorer.document import DOCUMENT_NAME, PIPELINE_NAME, WEIGHTS_NAME, read_document
from sentiment.store import (
    POINTERS,
    SCORER,
    is_alias,
    is_remote,
    pointer_file,
    read_pointer,
    resolve,
)
from sentiment.text.spec import MANY_CHARACTERS
from serve import weights

logger = logging.getLogger("sentiment.serve")

FILES = (DOCUMENT_NAME, WEIGHTS_NAME, PIPELINE_NAME)
WARM_TEXT = "Not a bad film at all, but I would not see it twice. 10/10 for the music!"


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to score, with what answers say about it.

    A request takes one of these at its start and uses it to its end, so that no answer is
    given partly by one model and partly by another.
    """

    scorer: Scorer
    name: str
    version: str
    digest: str
    labels: tuple[str, ...]
    run_id: str | None
    info: Mapping[str, Any]
    path: Path
    files: tuple[object, ...]
    """What changes when its files on the disk do."""
    loaded: datetime = field(default_factory=lambda: datetime.now(UTC))


OnSwap = Callable[[LoadedModel, LoadedModel | None, float], None]
OnRefused = Callable[[], None]


class ModelHolder:
    """Holds the model that is served and watches for its successor.

    Parameters
    ----------
    output_dir : Path
        Where models and pointers lie.
    reference : str, optional
        ``champion``, ``latest``, a digest or a scorer directory. Without one, the champion;
        until there is a champion, the latest model, with a warning. A remote reference
        (``models:/...``) is brought by ``sentiment models pull``, which moves the champion.
    reload_seconds : float
        How soon a successor has to serve; 0 never looks.
    role : str
        What the log says of a model that was taken.
    shared : Path, optional
        Where several workers keep the one copy of the weights that they share.

    Attributes
    ----------
    intact : bool
        Whether the files on the disk are still those of the model that is served. It is in memory
        and goes on as it is; a start would fail.
    problem : str
        Why the model that is named was refused; empty once one was taken.
    """

    def __init__(
        self,
        output_dir: Path,
        reference: str | None = None,
        reload_seconds: float = 5.0,
        *,
        role: str = "serving",
        shared: Path | None = None,
    ) -> None:
        self.role = role
        self.intact = True
        self._read_weights = weights.reader(shared)
        self._checked: tuple[object, ...] = ()
        self.output_dir = output_dir
        self.reference = reference
        self.reload_seconds = reload_seconds
        self.current: LoadedModel | None = None
        self.on_swap: OnSwap = lambda _new, _old, _seconds: None
        self.on_refused: OnRefused = lambda: None
        self._seen: object = None
        self._follows = ""
        self.problem = ""

    def load(self) -> None:
        """Load the model now; what a worker does before it serves.

        Raises
        ------
        ModelNotFoundError
            There is none.
        ModelError
            It is damaged or of another format.
        """
        self._seen = self._signature()
        self._take(self._read())

    def look(self) -> bool:
        """Load the successor if there is one; whether it took over.

        A successor that cannot be loaded is refused and not tried again until its files or
        the pointer change; without any model to serve, each look tries.
        """
        signature = self._signature()
        if signature == self._seen and self.current is not None:
            return False
        self._seen = signature
        if self.current is None and not any(signature):
            return False  # no pointer at all, which is no error while waiting for one
        try:
            taken = self._take(self._read())
        except Exception as error:
            self.refuse(error)
            return False
        self.problem = ""
        return taken

    def refuse(self, error: Exception) -> None:
        """Say once why a model cannot be served, and count it."""
        problem = str(error)
        if problem == self.problem and self.current is None:
            return  # it was tried again, and nothing is better
        self.problem = problem
        if isinstance(error, SentimentError):
            logger.error("model refused: %s", error)  # expected: no traceback
        else:
            logger.error("model refused", exc_info=error)
        self.on_refused()

    async def watch(self) -> None:
        """Look for successors until cancelled; loading happens in a thread."""
        if self.reload_seconds <= 0:
            return
        # Looking is a few stat calls; loading and warming must fit in what is left.
        pause = min(max(self.reload_seconds / 4, 0.05), 2.0)
        while True:
            await asyncio.sleep(pause)
            if self.current is None or self._signature() != self._seen:
                await asyncio.to_thread(self.look)
            elif _files(self.current.path) != self._checked:
                await asyncio.to_thread(self.check, self.current)

    def check(self, model: LoadedModel) -> None:
        """Look whether the files of the model that is served, which somebody touched, are whole."""
        files = _files(model.path)
        try:
            Scorer.load(model.path, digest=model.digest, read=weights.read_own)
        except SentimentError as error:
            if self.intact:
                logger.error(  # noqa: TRY400 - the message says it all
                    "the model goes on from memory, but a start would fail: %s", error
                )
            self.intact = False
        else:
            if not self.intact:
                logger.info("the files of the model that is served are whole again")
            self.intact = True
        self._checked = files

    def _read(self) -> tuple[LoadedModel, float]:
        started = time.perf_counter()
        target = self._target()
        stored = resolve(target, self.output_dir)
        files = _files(stored.path)
        document = read_document(stored.path)[1]
        check_patterns(view["text"].get("token_pattern") for view in document.get("views", []))
        scorer = Scorer.load(stored.path, digest=stored.digest, read=self._read_weights)
        if not scorer.compiled:
            from sentiment.scorer.pipeline import PipelineScorer

            assert isinstance(scorer, PipelineScorer)
            check_patterns(patterns_of(scorer.pipeline))
        scorer.predict_one(WARM_TEXT)
        scorer.predict([WARM_TEXT, WARM_TEXT])
        scorer.predict([WARM_TEXT] * (MANY_CHARACTERS // len(WARM_TEXT) + 1))
        scorer.explain(WARM_TEXT)
        loaded = LoadedModel(
            scorer=scorer,
            name=stored.name or "sentiment",
            version=str(stored.version or stored.digest[:12]),
            digest=stored.digest,
            labels=tuple(scorer.labels),
            run_id=stored.run_id,
            info=stored.info,
            path=stored.path,
            files=files,
        )
        self._follows = target
        return loaded, time.perf_counter() - started

    def _take(self, read: tuple[LoadedModel, float]) -> bool:
        loaded, seconds = read
        before = self.current
        if before is not None and (before.digest, before.version, before.name) == (
            loaded.digest,
            loaded.version,
            loaded.name,
        ):
            return False
        self.on_swap(loaded, before, seconds)
        self.current = loaded  # one assignment: requests see the old model or the new one
        self.intact, self._checked = True, loaded.files
        logger.info(
            "%s model %s version %s (%s), loaded in %.3f s",
            *(self.role, loaded.name, loaded.version, loaded.digest[:12], seconds),
        )
        if not loaded.scorer.compiled:
            logger.warning("this model does not compile: scikit-learn answers, which is slower")
        return True

    def _target(self) -> str:
        if self.reference is not None and not is_remote(self.reference):
            return self.reference
        if self.reference is None and read_pointer(self.output_dir, "champion") is None:
            if self._follows == "champion":
                raise ModelNotFoundError(
                    "the champion's pointer is gone; what it named goes on serving "
                    "until a champion is set again"
                )
            if self.current is None and not self.problem:
                logger.warning("no champion is set: serving the latest model until one is")
            return "latest"
        return "champion"

    def _signature(self) -> tuple[object, ...]:
        """Return what changes when another model is to be served: a few stat calls."""
        reference = self.reference
        if reference is None or is_remote(reference) or is_alias(reference):
            pointers = POINTERS if reference is None else [_followed(reference)]
            files = [pointer_file(self.output_dir, which) for which in pointers]
        else:
            directory = Path(reference)
            files = [
                *(directory / name for name in FILES),
                *(directory / SCORER / n for n in FILES),
            ]
        return tuple(stamp(file) for file in files)


def _files(directory: Path) -> tuple[object, ...]:
    return tuple(stamp(directory / name) for name in FILES)


def _followed(reference: str) -> str:
    return "champion" if is_remote(reference) else reference


def check_there(reference: str | None, output_dir: Path) -> None:
    """Say what is missing before anything starts.

    Parameters
    ----------
    reference : str or None
        As for `ModelHolder`. What a remote one names is not here before it is brought.
    output_dir : Path

    Raises
    ------
    ModelNotFoundError
        There is no such model.
    """
    if reference is None:
        reference = "latest" if read_pointer(output_dir, "champion") is None else "champion"
    if not is_remote(reference):
        resolve(reference, output_dir)
