"""The compiled model: load a scorer directory, verify it, and score texts with numpy alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from sentiment.errors import ModelError
from sentiment.scorer.container import Reader, Tensors, map_file, read_tensors
from sentiment.scorer.decision import Decision
from sentiment.scorer.document import (
    DOCUMENT_NAME,
    PIPELINE_FORMAT,
    WEIGHTS_NAME,
    check_weights,
    read_document,
)
from sentiment.scorer.link import LINKS, best_class, link
from sentiment.scorer.prediction import Floats, Ints, Prediction, Predictions
from sentiment.scorer.view import HashView, NgramView, View, contributions
from sentiment.text.spec import MANY_CHARACTERS

if TYPE_CHECKING:
    from sentiment.scorer.explain import ClassFeature, Strong
    from sentiment.scorer.explanation import Explanation

_VIEWS: dict[str, type[View]] = {"ngrams": NgramView, "hashing": HashView}


class Scorer:
    """A compiled model. Make one with `Scorer.load`; it is safe to use from many threads."""

    compiled = True
    """Whether numpy alone answers; else it is a pipeline of scikit-learn, which is slower."""
    golden_tolerance = 1e-9
    follow: Callable[[Iterable[Any], Sequence[int]], Iterable[Any]] | None = None
    """Given the parts of many texts as they are scored and their sizes, yields them: shows progress."""

    def __init__(
        self,
        document: dict[str, Any],
        tensors: Tensors,
        *,
        digest: str,
        size_bytes: int,
        path: Path | None = None,
    ) -> None:
        self._describe(document, digest, size_bytes, path)
        self.link = str(document["link"])
        self.intercept: Floats = np.array(document["intercept"], dtype=np.float64)
        self._bias = float(self.intercept[0])
        self.views: list[View] = [
            _VIEWS[view["kind"]](view, tensors, f"view{number}")
            for number, view in enumerate(document["views"])
        ]
        n_scores = 1 if self.link == "sigmoid" else len(self.labels)
        if (
            not self.views
            or self.link not in LINKS
            or len(self.labels) < 2
            or self.intercept.shape != (n_scores,)
        ):
            raise ValueError("labels, link and intercept do not match")
        if not np.isfinite(self.intercept).all():
            raise ValueError("an intercept is no number")
        for view in self.views:
            if view.values.shape[1:] != (n_scores + (view.norm is not None),):
                raise ValueError("values and scores do not match")

    def _describe(
        self, document: dict[str, Any], digest: str, size_bytes: int, path: Path | None
    ) -> None:
        """Take what every kind of model has in ``scorer.json``."""
        self.path = path
        self.document = MappingProxyType(document)
        self.labels: tuple[str, ...] = tuple(document["labels"])
        self.positive_label: str | None = document["positive_label"]
        self.digest = digest
        self.size_bytes = size_bytes
        self.n_features = int(document["n_features"])
        self.decision = Decision.from_dict(document.get("decision"), len(self.labels))
        self._decides = self.decision.changes_labels

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        digest: str | None = None,
        verify: bool = True,
        read: Reader = map_file,
    ) -> Scorer:
        """Load a scorer directory.

        Parameters
        ----------
        path : Path
            The directory that holds ``scorer.json`` and ``weights.safetensors``, or, of a model
            that does not compile, ``pipeline.skops``.
        digest : str, optional
            What the SHA-256 of ``scorer.json`` must be.
        verify : bool
            Read the whole of the weights to compare their checksum, and answer the golden texts.
            Leave out only when this process's parent has just done it.
        read : callable
            Gives the bytes of the weights, of their path and checksum. By default they are mapped:
            whoever writes into that file changes this model.

        Raises
        ------
        ModelError
            Missing, cut off, altered, foreign, of a newer format, or answering differently here;
            a pipeline also where scikit-learn is missing or a type in it is not trusted.
        """
        path = Path(path)
        found, document = read_document(path)
        if digest is not None and found != digest:
            raise ModelError(
                f"{path}: the model is {found[:12]}, not {digest[:12]} as asked for: "
                "it was altered or replaced; fetch or train it again"
            )
        try:
            if document["format"] == PIPELINE_FORMAT:
                from sentiment.scorer.pipeline import open_pipeline  # asks for scikit-learn

                scorer: Scorer = open_pipeline(path, document, found, verify=verify)
            else:
                sha256 = document["weights"]["sha256"]
                tensors, data = read_tensors(path / WEIGHTS_NAME, read, sha256)
                check_weights(path, document, data, verify=verify)
                size = len(data) + (path / DOCUMENT_NAME).stat().st_size
                scorer = cls(document, tensors, digest=found, size_bytes=size, path=path)
            if verify:
                scorer.check_numbers()
                scorer.check_golden()
        except (
            KeyError,
            ValueError,
            TypeError,
            IndexError,
            AttributeError,
            ArithmeticError,
            RecursionError,
            MemoryError,
        ) as error:
            text = " ".join(str(error).split())[:200]
            raise ModelError(f"{path}: not a usable scorer ({text}); train it again") from None
        return scorer

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the place to load from: another process maps the same file."""
        if self.path is None:
            raise TypeError("a scorer that was not loaded from a directory cannot be pickled")
        return _load_again, (str(self.path), self.digest)

    def check_numbers(self) -> None:
        """Look at every weight.

        Raises
        ------
        ValueError
            One is no finite number.
        """
        for view in self.views:
            arrays = [view.values, *([] if view.scale is None else [view.scale])]
            # The extremes of numbers among which one is none, are none: nothing is copied.
            if not all(np.isfinite([a.min(), a.max()]).all() for a in arrays if a.size):
                raise ValueError("a weight is no number")

    def check_golden(self) -> None:
        """Answer the texts whose probabilities and labels were recorded when the model was compiled.

        Raises
        ------
        ModelError
            An answer differs: this Python or numpy reads texts differently.
        """
        golden = self.document["golden"]
        answers = self.predict([case["text"] for case in golden]).probabilities
        for case, answer in zip(golden, answers, strict=True):
            recorded = case["probabilities"]
            same = len(recorded) == len(answer) and np.allclose(
                answer, recorded, rtol=0, atol=self.golden_tolerance
            )
            if not same:
                raise ModelError(
                    f"the model {self.digest[:12]} answers a recorded text with "
                    f"{answer.tolist()}, not {recorded}: compile it again with this version"
                )
            # Of the recorded probabilities: those of here may lie on the other side of a threshold.
            kept = case.get("label"), case.get("withheld")
            if "label" in case and kept != (decided := self.decided(recorded)):
                raise ModelError(
                    f"the model {self.digest[:12]} decides {decided} of {recorded}, not {kept}: "
                    "compile it again with this version"
                )

    def decided(self, probabilities: Sequence[float]) -> tuple[str, bool]:
        """Return the label that the decision makes of a text's probabilities, and whether it is withheld."""
        best = self.decision.best_of(probabilities)
        return self.labels[best], self.decision.unsure(probabilities[best])

    def predict(
        self, texts: Iterable[str], each: Callable[..., Iterable[Any]] = map
    ) -> Predictions:
        """Score texts.

        Parameters
        ----------
        texts : iterable of str
            A list, a column of pandas or polars, an array, a generator.
        each : callable
            Applies a function to a list, in order: `sentiment.text.corpus.parallel` does it in threads.

        Returns
        -------
        Predictions
            One entry per text, in order.
        """
        if isinstance(texts, str):
            raise TypeError("give a list of texts, not one text")
        texts = texts if isinstance(texts, list) else list(texts)
        scores = np.empty((len(texts), len(self.intercept)))
        n_tokens = np.empty(len(texts), dtype=np.int64)
        n_unknown = np.empty(len(texts), dtype=np.int64)
        parts = [slice(0, len(texts))] if len(texts) else []
        if sum(map(len, texts)) >= MANY_CHARACTERS:
            from sentiment.text.corpus import cut_blocks  # not needed by who scores a few texts

            parts = cut_blocks(texts)
        scored = each(self._score, [texts[part] for part in parts])
        if self.follow is not None and len(parts) > 1:
            scored = self.follow(scored, [part.stop - part.start for part in parts])
        for part, (score, tokens, unknown) in zip(parts, scored, strict=True):
            scores[part], n_tokens[part], n_unknown[part] = score, tokens, unknown
        return self._predictions(link(self.link, scores), scores, n_tokens, n_unknown)

    def _predictions(
        self, probabilities: Floats, scores: Floats, n_tokens: Ints, n_unknown: Ints
    ) -> Predictions:
        """Give each text the label that the model decides for."""
        best = self.decision.best(probabilities) if self._decides else best_class(scores)
        names = self.labels
        return Predictions(
            [names[number] for number in best.tolist()],
            probabilities[np.arange(len(best)), best],
            probabilities,
            scores,
            n_tokens,
            n_unknown,
        )

    def predict_proba(self, texts: Iterable[str]) -> Floats:
        """Return the probability of each label, float64[n, labels], in the order of `labels`."""
        return self.predict(texts).probabilities

    def _score(self, texts: Sequence[str]) -> tuple[Floats, Ints, Ints]:
        scores = np.tile(self.intercept, (len(texts), 1))
        n_tokens: Ints | None = None
        for view in self.views:
            found, tokens, unknown = view.count(texts)
            added = contributions(view, found, len(texts))
            for number in range(scores.shape[1]):
                scores[:, number] += np.bincount(found.texts, added[:, number], len(texts))
            if n_tokens is None:  # the first view speaks for the text
                n_tokens, n_unknown = tokens, unknown
        assert n_tokens is not None
        return scores, n_tokens, n_unknown

    def predict_one(self, text: str) -> Prediction:
        """Score one text: the numbers of `predict`, with as little overhead as possible."""
        if len(self.intercept) > 1:
            return self._predict_one_of_many(text)
        score, n_tokens, n_unknown = self._bias, -1, 0
        for view in self.views:
            added, tokens, unknown = view.score_one(text)
            score += added.item()
            if n_tokens < 0:
                n_tokens, n_unknown = tokens, unknown
        return self._prediction(score, n_tokens, n_unknown)

    def predict_each(self, texts: Sequence[str]) -> list[Prediction]:
        """Score a few texts together: `predict_one` of each, to the last bit, in half the time."""
        scores, n_tokens, n_unknown = self._score(texts)
        counts = zip(n_tokens.tolist(), n_unknown.tolist(), strict=True)
        if len(self.intercept) > 1:
            return [
                self._prediction_of_many(row, *of_text)
                for row, of_text in zip(scores, counts, strict=True)
            ]
        return [
            self._prediction(score, *of_text)
            for score, of_text in zip(scores[:, 0].tolist(), counts, strict=True)
        ]

    def _prediction(self, score: float, n_tokens: int, n_unknown: int) -> Prediction:
        # exp of minus the absolute value cannot overflow; numpy's is that of `link`.
        small = float(np.exp(-abs(score)))
        likely, unlikely = 1.0 / (1.0 + small), small / (1.0 + small)
        if self._decides:
            both = (unlikely, likely) if score > 0 else (likely, unlikely)
            best = self.decision.best_of(both)
            return Prediction(self.labels[best], both[best], both, (score,), n_tokens, n_unknown)
        if score > 0:
            return Prediction(
                self.labels[1], likely, (unlikely, likely), (score,), n_tokens, n_unknown
            )
        return Prediction(self.labels[0], likely, (likely, unlikely), (score,), n_tokens, n_unknown)

    def _predict_one_of_many(self, text: str) -> Prediction:
        scores, n_tokens, n_unknown = self.intercept, -1, 0
        for view in self.views:
            added, tokens, unknown = view.score_one(text)
            scores = scores + added
            if n_tokens < 0:
                n_tokens, n_unknown = tokens, unknown
        return self._prediction_of_many(scores, n_tokens, n_unknown)

    def _prediction_of_many(self, scores: Floats, n_tokens: int, n_unknown: int) -> Prediction:
        probabilities = link(self.link, scores[None])[0].tolist()
        best = self.decision.best_of(probabilities) if self._decides else int(scores.argmax())
        return Prediction(
            self.labels[best],
            probabilities[best],
            tuple(probabilities),
            tuple(scores.tolist()),
            n_tokens,
            n_unknown,
        )

    def explain(self, text: str, top: int | None = None) -> Explanation:
        """Return what each n-gram of a text adds to each score.

        Parameters
        ----------
        text : str
        top : int, optional
            Keep only that many n-grams, the strongest; by default all.
        """
        from sentiment.scorer.explain import explain

        return explain(self, text, top)

    def strongest(self, texts: Sequence[str], top: int) -> list[list[Strong]]:
        """Return the n-grams of each text that add most to a score, as `explain`, many texts at once."""
        from sentiment.scorer.explain import strongest

        return strongest(self, texts, top)

    def top_features(self, n: int = 20) -> dict[str, list[ClassFeature]]:
        """Return the n n-grams that speak strongest for each label."""
        from sentiment.scorer.explain import top_features

        return top_features(self, n)


def _load_again(path: str, digest: str) -> Scorer:
    return Scorer.load(path, digest=digest, verify=False)
