"""Clusters: the same bytes as this machine alone, also when a node dies."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl
import pytest
from support.clusters import cluster_of
from support.reviews import shuffled
from support.waiting import free_port, wait_for

from sentiment import engines, store
from sentiment.answering import score_texts
from sentiment.batch import score_file
from sentiment.compiler.compile import compile_scorer
from sentiment.errors import DataError, UsageError
from sentiment.models import NBSVM
from sentiment.parts import DONE, nothing_begun, score_parts
from sentiment.records.rows import open_rows
from sentiment.scorer import Scorer
from sentiment.text.engine import Threads
from sentiment.vectorizers import TfidfVectorizer
from sentiment.vectorizers.blocks import fit_blocks
from sentiment.vectorizers.making import Sizes


@pytest.fixture(scope="module")
def reviews():
    rows = shuffled()[:240]
    return [text[:500] for text, _ in rows], np.array([label for _, label in rows], dtype=object)


def fit(reviews, folder: Path, engine) -> NBSVM:
    texts, labels = reviews
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2)
    X = fit_blocks(
        vectorizer, lambda: [texts], folder, engine, lambda *_: None, dtype="float32",
        sizes=Sizes(20_000, 8_000),
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
    (files / "day=2" / "b.jsonl").write_text('{"text": "good"}\n' * 5 + '{"text": 1}\n')
    words = (stored.path, stored.digest, str(files), str(tmp_path / "out"), Threads())
    with pytest.raises(DataError, match=r"b\.jsonl: row 6"):
        score_parts(*words, batch_size=2)
    assert list((tmp_path / "out").glob("*.partial*"))
    with pytest.raises(DataError, match=r"b\.jsonl: row 6"), nothing_begun(words[3]):
        score_parts(*words, batch_size=2)
    assert not (tmp_path / "out" / DONE).exists()
    assert not list((tmp_path / "out").glob("*.partial*"))


def test_class_folders_are_not_scored_a_part_for_each_text(stored, tmp_path):
    for name in ("a/1.txt", "a/2.txt", "b/1.txt", "b/2.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text("a good film\nof two lines")
    words = (stored.path, stored.digest, str(tmp_path / "in"), str(tmp_path / "out"), Threads())
    with pytest.raises(UsageError, match="leave out engine, or for .* lines give format='lines'"):
        score_parts(*words)
    assert not (tmp_path / "out").exists()
    assert score_parts(*words, kind="lines").n_rows == 8


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


@pytest.mark.real
@pytest.mark.slow
def test_an_address_of_something_else_is_said_in_seconds(tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        begin = time.monotonic()
        done = subprocess.run(
            [
                sys.executable, "-c",
                "import sys; from sentiment import engines\n"
                "with engines.engine('ray', sys.argv[1]): pass",
                f"127.0.0.1:{server.server_port}",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )  # fmt: skip
        server.shutdown()
    assert "no Ray cluster answers" in done.stderr.splitlines()[-1]
    assert time.monotonic() - begin < 60


def test_one_of_several_masters_is_enough():
    pytest.importorskip("pyspark", reason="the extra spark is not installed")
    with socket.create_server(("127.0.0.1", 0)) as master:
        there = f"127.0.0.1:{master.getsockname()[1]}"
        engines.check("spark", f"spark://127.0.0.1:{free_port()},{there}")
    with pytest.raises(UsageError, match=r"no cluster answers there \(.*refused; .*refused\)"):
        engines.check("spark", f"spark://127.0.0.1:{free_port()},127.0.0.1:{free_port()}")


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_nodes", [2, 4])
def test_ray_gives_the_same_weights_and_parts_and_survives_a_node(
    reviews, stored, files, tmp_path, n_nodes
):
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    here = fit(reviews, tmp_path / "here", Threads())
    with cluster_of(n_nodes) as cluster:
        lost = cluster.worker_nodes.copy().pop()
        with engines.engine("ray", cluster.address) as engine:
            assert ray.cluster_resources()["CPU"] == n_nodes

            class LosesANode:
                """The engine, but for a node that dies when some tasks are done."""

                n = 0
                cores = n_nodes

                def map(self, function, items, **shared):
                    for result in engine.map(function, items, **shared):
                        self.n += 1
                        if self.n == 4:
                            cluster.remove_node(lost, allow_graceful=False)
                        yield result

            there = fit(reviews, tmp_path / "there", LosesANode())
            np.testing.assert_array_equal(there.coef_, here.coef_)
            np.testing.assert_array_equal(there.intercept_, here.intercept_)
            score_parts(stored.path, stored.digest, str(files), str(tmp_path / "out"), engine)
            (files / "day=2" / "b.jsonl").write_text('{"text": 1}\n')
            with pytest.raises(DataError, match=r"b\.jsonl: row 1"):
                score_parts(stored.path, stored.digest, str(files), str(tmp_path / "bad"), engine)
            (files / "day=2" / "b.jsonl").unlink()
        check_parts(stored, files, tmp_path / "out")


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_spark_gives_the_same_answers_on_a_master_with_two_workers(
    reviews, stored, files, tmp_path, monkeypatch
):
    pyspark = pytest.importorskip("pyspark", reason="the extra spark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Java is not installed")
    home = Path(pyspark.__file__).parent
    port = free_port()
    address = f"spark://127.0.0.1:{port}"
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    master = ["Master", "--host", "127.0.0.1", "--port", str(port)]
    worker = [
        "Worker",
        "--cores",
        "1",
        "--memory",
        "1g",
        "--work-dir",
        str(tmp_path / "w"),
        address,
    ]
    running = []

    def start(words: list[str]) -> None:
        log = (tmp_path / f"log{len(running)}").open("wb")
        kind = f"org.apache.spark.deploy.{words[0].lower()}.{words[0]}"
        command = [str(home / "bin" / "spark-class"), kind, "--webui-port", str(free_port())]
        running.append(
            subprocess.Popen([*command, *words[1:]], stdout=log, stderr=log, env=environment)
        )

    try:
        start(master)
        wait_for(
            lambda: b"RUNNING" in (tmp_path / "log0").read_bytes() or _open(port), what="master"
        )
        start(worker)
        start(worker)
        from sentiment import spark as on_spark

        with on_spark.session(address) as session:
            frame = session.createDataFrame(
                [(text,) for text in [*reviews[0][:50], None, "  "]], "text string"
            ).repartition(2)
            output_dir = stored.path.parents[2]
            scorer = Scorer.load(stored.path, digest=stored.digest)
            rows = on_spark.score(frame, "text", output_dir=output_dir).collect()
            assert len(rows) == 52
            for row in rows:
                answer, text = row["sentiment"], row["text"]
                expected = score_texts(scorer, [text])
                assert answer["label"] == expected.labels[0]
                assert answer["confidence"] == expected.confidence[0]
                assert answer["note"] == expected.notes[0]
                likely = expected.probabilities[0]
                assert answer["probabilities"] == (
                    likely and dict(zip(scorer.labels, likely, strict=True))
                )
            unsure = on_spark.score(frame, output_dir=output_dir, min_confidence=1.0).collect()
            assert {row["sentiment"]["label"] for row in unsure} == {None, ""}
            assert {row["sentiment"]["would_be"] for row in unsure} == {*scorer.labels, None}
            for name in ("review.text", "the text", "a`b"):
                renamed = on_spark.score(
                    frame.withColumnRenamed("text", name), name, output_dir=output_dir
                )
                assert sorted(map(str, (row["sentiment"] for row in renamed.collect()))) == sorted(
                    str(row["sentiment"]) for row in rows
                )
            with pytest.raises(UsageError, match="no such column"):
                on_spark.score(frame, "body", output_dir=output_dir)
            with pytest.raises(UsageError, match="holds int, not text: cast it to string"):
                on_spark.score(frame.selectExpr("1 as text"), output_dir=output_dir)
            with engines.engine("spark", address) as engine:
                score_parts(stored.path, stored.digest, str(files), str(tmp_path / "out"), engine)
                (files / "day=2" / "b.jsonl").write_text('{"text": 1}\n')
                with pytest.raises(DataError, match=r"b\.jsonl: row 1"):
                    score_parts(
                        stored.path, stored.digest, str(files), str(tmp_path / "bad"), engine
                    )
                (files / "day=2" / "b.jsonl").unlink()
        check_parts(stored, files, tmp_path / "out")
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(timeout=30)


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_sweep_over_two_nodes_makes_its_features_once(tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="no hydra-ray-launcher")
    frame = pl.DataFrame(shuffled()[:300], schema=["text", "label"], orient="row")
    frame.write_parquet(tmp_path / "reviews.parquet")
    with cluster_of(2) as cluster:
        done = subprocess.run(
            [
                sys.executable, "-m", "sentiment", "sweep", "data=files",
                f"data.train={tmp_path}/reviews.parquet", "data.split=hash", "model.C=0.1,0.5,1,2",
                "hydra/launcher=ray",
                f"hydra.launcher.ray.init.address={cluster.address}", f"cache.dir={tmp_path}/shared",
                "--json",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["counts"] == {"finished": 4}
    assert len(list((tmp_path / "shared" / "features").glob("*/about.json"))) == 1
