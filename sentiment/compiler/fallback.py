"""From a fitted pipeline that does not compile to a directory like a scorer's, in skops format."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

import sentiment
from sentiment.compiler.compile import stored_decision, write_scorer
from sentiment.compiler.reference import (
    MAX_REFERENCE,
    golden_cases,
    golden_words,
    reference_statistics,
)
from sentiment.scorer.decision import Decision
from sentiment.scorer.document import (
    PIPELINE_FORMAT,
    PIPELINE_NAME,
    dump_document,
    format_version,
)
from sentiment.scorer.pipeline import PipelineScorer

_PLACE = re.compile(r'(?<!\\)"(__id__|file)": (?:(\d+)|"([^"]+?)(\.\w+)")')
_N_WORDS = 24


class KeptPipeline:
    """A pipeline as it will be written.

    Attributes
    ----------
    document : dict
        Content of ``scorer.json``.
    pipeline : bytes
        Content of ``pipeline.skops``.
    scorer : PipelineScorer
        The same, ready to score.
    """

    def __init__(self, document: dict[str, Any], pipeline: Any, content: bytes) -> None:
        described = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        document = {**document, "weights": described}
        document["checksum"] = hashlib.sha256(dump_document(document)).hexdigest()
        self.document = document
        self.pipeline = content
        self._json = dump_document(document)
        self.digest = hashlib.sha256(self._json).hexdigest()
        self.scorer = PipelineScorer(
            document, pipeline, digest=self.digest, size_bytes=len(content) + len(self._json)
        )

    def save(self, directory: Path | str) -> str:
        """Write the directory and return its digest; see `CompiledScorer.save`."""
        write_scorer(Path(directory), self._json, PIPELINE_NAME, [self.pipeline])
        return self.digest


def keep_pipeline(
    vectorizer: Any,
    classifier: Any,
    *,
    positive_label: str | None = None,
    reference_texts: Sequence[str] = (),
    reference_labels: Sequence[str] | None = None,
    reference_name: str = "held-out",
    decision: Decision | None = None,
) -> KeptPipeline:
    """Keep a fitted vectorizer and classifier as they are.

    Parameters
    ----------
    vectorizer, classifier : estimator
        The classifier has ``predict_proba``.
    positive_label : str, optional
    reference_texts, reference_labels, reference_name, decision
        As of `compile_scorer`.
    """
    pipeline = Pipeline([("vectorizer", vectorizer), ("classifier", classifier)])
    content = dump_pipeline(pipeline)
    document: dict[str, Any] = {
        "format": PIPELINE_FORMAT,
        "made_with": {"sentiment": sentiment.__version__},
        "labels": [str(label) for label in classifier.classes_],
        "positive_label": positive_label,
        "n_features": int(vectorizer.transform(["a text"]).shape[1]),
        "golden": [],
        "reference": None,
        **stored_decision(decision),
    }
    document["format_version"] = format_version(document, least=1)
    scorer = PipelineScorer(document, pipeline, digest="", size_bytes=0)
    generator = np.random.Generator(np.random.PCG64(0))
    golden = golden_words(_known_words(vectorizer, generator), generator)
    document["golden"] = golden_cases(scorer, golden)
    stride = -(-len(reference_texts) // MAX_REFERENCE) or 1
    if len(reference_texts):
        labels = None if reference_labels is None else list(reference_labels[::stride])
        document["reference"] = reference_statistics(
            scorer, list(reference_texts[::stride]), reference_name, labels
        )
    return KeptPipeline(document, pipeline, content)


def dump_pipeline(pipeline: Any) -> bytes:
    """Return a fitted pipeline in skops format: the same bytes for the same content.

    skops names parts by where they lie in memory and notes the time; both are replaced.

    Parameters
    ----------
    pipeline : estimator
    """
    import skops.io

    names: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        key, number, stem, suffix = match.groups()
        name = names.setdefault(number or stem, str(len(names) + 1))
        return f'"{key}": {name}' if number else f'"{key}": "{name}{suffix}"'

    written = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(skops.io.dumps(pipeline))) as parts,
        zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive,
    ):
        schema = _PLACE.sub(renamed, parts.read("schema.json").decode())
        contents = {"schema.json": schema.encode()}
        for name in parts.namelist():
            stem, dot, suffix = name.partition(".")
            if name != "schema.json":
                contents[names[stem] + dot + suffix] = parts.read(name)
        for name in sorted(contents):
            archive.writestr(zipfile.ZipInfo(name), contents[name])
    return written.getvalue()


def _known_words(vectorizer: Any, generator: np.random.Generator) -> list[str]:
    """Return some of the vectorizer's features, where it names them."""
    try:
        names = vectorizer.get_feature_names_out()
    except (AttributeError, NotImplementedError):
        return []
    chosen = generator.integers(0, len(names), size=_N_WORDS)
    return [str(names[number]) for number in chosen.tolist()]
