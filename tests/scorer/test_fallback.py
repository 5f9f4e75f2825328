"""Pipelines in skops format load only against the project's own list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sentiment.compiler.fallback import load_pipeline, save_pipeline
from sentiment.errors import ModelError
from sentiment.vectorizers import TfidfVectorizer


class Stranger(KNeighborsClassifier):
    """A type that the list does not hold."""


TEXTS = ["good film", "bad film", "a good plot", "a bad plot"] * 5
LABELS = ["positive", "negative"] * 10


def test_a_pipeline_comes_back_with_its_answers(tmp_path: Path) -> None:
    pipeline = make_pipeline(TfidfVectorizer(), KNeighborsClassifier(3)).fit(TEXTS, LABELS)
    save_pipeline(pipeline, tmp_path / "pipeline.skops")
    again = load_pipeline(tmp_path / "pipeline.skops")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), pipeline.predict_proba(TEXTS))


def test_types_off_the_list_are_refused_by_name(tmp_path: Path) -> None:
    pipeline = make_pipeline(TfidfVectorizer(), Stranger(3)).fit(TEXTS, LABELS)
    save_pipeline(pipeline, tmp_path / "pipeline.skops")
    with pytest.raises(ModelError, match="Stranger"):
        load_pipeline(tmp_path / "pipeline.skops")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip"])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "pipeline.skops").write_bytes(content)
    with pytest.raises(ModelError, match="not a whole skops file"):
        load_pipeline(tmp_path / "pipeline.skops")
