"""Clusters: the same bytes as this machine alone, also when a node dies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support.reviews import shuffled
from support.waiting import free_port

from sentiment import engines, store
from sentiment.batch import score_file
from sentiment.compiler.compile import compile_scorer
from sentiment.errors import DataError, UsageError
from sentiment.models import NBSVM
from sentiment.parts import DONE, score_parts
from sentiment.records.rows import open_rows
from sentiment.scorer import Scorer
from sentiment.text.engine import Threads
from sentiment.vectorizers import TfidfVectorizer
from sentiment.vectorizers.blocks import fit_blocks


@pytest.fixture(scope="module")
def reviews():
    rows = shuffled()[:240]
    return [text[:500] for text, _ in rows], np.array([label for _, label in rows], dtype=object)


def fit(reviews, folder: Path, engine) -> NBSVM:
    texts, labels = reviews
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2)
    X = fit_blocks(
        vectorizer, [texts], folder, engine, lambda *_: None, dtype="float32",
        block_characters=20_000, merged=8_000,
    )  # fmt: skip
    return NBSVM(random_state=0, max_iter=4).fit(X, labels)


@pytest.fixture(scope="module")
def stored(reviews, tmp_path_factory):
    texts, labels = reviews
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2)
    model = NBSVM(random_state=0).fit(vectorizer.fit_transform(texts), labels)
    compiled = compile_scorer(
        vectorizer, model, positive_label="positive", reference_texts=texts, reference_labels=labels
    )
    output_dir = tmp_path_factory.mktemp("outputs")
    kept = store.save_model(compiled, {"run_id": "r", "metrics": {}}, output_dir)
    store.set_pointer(output_dir, "latest", kept.digest, run_id="r", source="train")
    return kept


@pytest.fixture
def files(reviews, tmp_path) -> Path:
    texts = [*reviews[0][:60], None, " "]
    for day in (1, 2):
        folder = tmp_path / "in" / f"day={day}"
        folder.mkdir(parents=True)
        pl.DataFrame({"text": texts, "n": range(len(texts))}).write_parquet(folder / "a.parquet")
    return tmp_path / "in"


def check_parts(stored, files: Path, output: Path) -> None:
    """Each part is what the command writes of its file, to the byte."""
    scorer = Scorer.load(stored.path, digest=stored.digest)
    assert (output / DONE).exists()
    for number, day in enumerate((1, 2)):
        alone = output.parent / f"alone-{day}.parquet"
        score_file(scorer, open_rows(str(files / f"day={day}*")), str(alone), "parquet", force=True)
        there = pl.read_parquet(output / f"part-{number:05}.parquet")
        assert there.equals(pl.read_parquet(alone))
        assert there["day"].unique().to_list() == [str(day)]


def test_parts_are_what_the_command_writes_here_too(stored, files, tmp_path):
    words = (stored.path, stored.digest, str(files), str(tmp_path / "out"), Threads())
    summary = score_parts(*words)
    assert (summary.n_rows, summary.n_null) == (124, 4)
    check_parts(stored, files, tmp_path / "out")
    with pytest.raises(UsageError, match="holds parts already; force replaces them"):
        score_parts(*words)
    score_parts(*words, force=True)


def test_a_part_that_cannot_be_read_leaves_no_mark_of_success(stored, files, tmp_path):
    (files / "day=2" / "b.jsonl").write_text('{"text": 1}\n')
    with pytest.raises(DataError, match=r"b\.jsonl: row 1"):
        score_parts(stored.path, stored.digest, str(files), str(tmp_path / "out"), Threads())
    assert not (tmp_path / "out" / DONE).exists()
    assert not list((tmp_path / "out").glob("*.partial*"))


def test_an_engine_that_is_none_is_refused():
    with (
        pytest.raises(UsageError, match="no such engine; did you mean 'ray'"),
        engines.engine("rai"),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "address"), [("ray", "127.0.0.1:{}"), ("spark", "spark://127.0.0.1:{}")]
)
def test_an_address_without_a_cluster_is_said_at_once(name, address):
    pytest.importorskip({"ray": "ray", "spark": "pyspark"}[name], reason=f"the extra {name}")
    with (
        pytest.raises(UsageError, match="no cluster answers there"),
        engines.engine(name, address.format(free_port())),
    ):
        pass
