"""Clusters: the same bytes as this machine alone, also when a node dies."""

from __future__ import annotations

import json
import os
import signal
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
from support.clusters import cluster_of, spark_master
from support.reviews import shuffled
from support.waiting import free_port, wait_for

from sentiment import engines, store
from sentiment.answering import score_texts
from sentiment.batch import score_file
from sentiment.compiler.compile import compile_scorer
from sentiment.errors import DataError, UsageError
from sentiment.models import NBSVM
from sentiment.parts import DONE, nothing_begun, plan_parts, score_parts
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


def score(stored, where: object, output: Path, engine=None, *, batch_size: int = 512, **asked):
    plan = plan_parts(str(where), str(output), **asked)
    return score_parts(stored.path, stored.digest, plan, engine or Threads(), batch_size=batch_size)


def test_parts_are_what_the_command_writes_here_too(stored, files, tmp_path):
    summary = score(stored, files, tmp_path / "out")
    assert (summary.n_rows, summary.n_null) == (124, 4)
    check_parts(stored, files, tmp_path / "out")
    with pytest.raises(UsageError, match="holds parts already; force replaces them"):
        plan_parts(str(files), str(tmp_path / "out"))
    score(stored, files, tmp_path / "out", force=True)


def test_parts_of_an_earlier_run_are_not_read_with_those_of_this(stored, files, tmp_path):
    output = tmp_path / "out"
    score(stored, files, output)
    (output / DONE).unlink()  # as of a run that failed
    (output / "part-note.txt").write_text("mine")
    one = files / "day=1"
    with pytest.raises(
        UsageError, match=r"part-00001\.parquet, which no file of .*; force removes"
    ):
        plan_parts(str(one), str(output))
    score(stored, one, output, force=True)
    assert {file.name for file in output.iterdir()} == {DONE, "part-00000.parquet", "part-note.txt"}


def test_a_part_that_cannot_be_read_leaves_no_mark_of_success(stored, files, tmp_path):
    (files / "day=2" / "b.jsonl").write_text('{"text": "good"}\n' * 5 + '{"text": 1}\n')
    output = tmp_path / "out"
    with pytest.raises(DataError, match=r"b\.jsonl: row 6"):
        score(stored, files, output, batch_size=2)
    assert list(output.glob("*.partial*"))
    with pytest.raises(DataError, match=r"b\.jsonl: row 6"), nothing_begun(str(output)):
        score(stored, files, output, batch_size=2)
    assert not (output / DONE).exists()
    assert not list(output.glob("*.partial*"))


def test_class_folders_are_not_scored_a_part_for_each_text(stored, tmp_path):
    for name in ("a/1.txt", "a/2.txt", "b/1.txt", "b/2.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text("a good film\nof two lines")
    where, output = tmp_path / "in", tmp_path / "out"
    with pytest.raises(UsageError, match="leave out engine, or for .* lines give format='lines'"):
        plan_parts(str(where), str(output))
    assert score(stored, where, output, kind="lines").n_rows == 8
    assert (output / "part-00003.txt").exists()


@pytest.mark.parametrize(
    ("where", "output", "told"),
    [
        ("in", "-", "give output='FOLDER'"),
        ("-", "out", "not standard input: split it"),
        ("gone.csv", "out", r"no such file: .*gone\.csv"),
        (",", "out", "input=',': names no file"),
        ("in,gone.csv", "out", r"no such file: gone\.csv"),
        ("pipe", "out", "is a pipe, which is read once"),
        ("other.csv", "out", r"other\.csv: no column 'text' \(there are: body, n; give text_column\)"),
        ("sheet.xlsx", "out", "a spreadsheet: save the sheet as CSV"),
        ("in", "other.csv", r"other\.csv: is a file; an engine writes a folder"),
        ("in", "other.csv/below", r"other\.csv: is a file; an engine writes a folder"),
        ("in", "in", r"in: holds the input .*a\.csv; write to another folder"),
        ("in", "https://host/x", "https is read only; write to"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_before_a_cluster_is_asked(
    where, output, told, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("text\ngood\n")
    (tmp_path / "other.csv").write_text("body,n\ngood,1\n")
    (tmp_path / "sheet.xlsx").write_bytes(b"PK")
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=told):
        plan_parts(where, output)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_says_what_is_wrong_before_it_asks_for_an_engine(stored, tmp_path, cli):
    """No cluster answers at the address, and is not asked."""
    words = ["predict", "--output-dir", stored.path.parents[2], "--engine", "spark"]
    words += ["--engine-address", f"spark://127.0.0.1:{free_port()}"]
    (tmp_path / "a.csv").write_text("text\ngood\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / DONE).touch()
    for where, output, told in (
        ("b.csv", "out", "no such file"), ("a.csv", "full", "holds parts already; --force"),
    ):  # fmt: skip
        answer = cli(*words, "--input", tmp_path / where, "--output", tmp_path / output)
        assert (answer.code, answer.out) == (2, "")
        assert told in answer.err.splitlines()[-1]


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
            score(stored, files, tmp_path / "out", engine)
            (files / "day=2" / "b.jsonl").write_text('{"text": 1}\n')
            with pytest.raises(DataError, match=r"b\.jsonl: row 1"):
                score(stored, files, tmp_path / "bad", engine)
            (files / "day=2" / "b.jsonl").unlink()
        check_parts(stored, files, tmp_path / "out")


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_spark_gives_the_same_answers_on_a_master_with_two_workers(
    reviews, stored, files, tmp_path
):
    from sentiment import spark as on_spark

    with spark_master(2, tmp_path / "spark") as address:
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
                score(stored, files, tmp_path / "out", engine)
                (files / "day=2" / "b.jsonl").write_text('{"text": 1}\n')
                with pytest.raises(DataError, match=r"b\.jsonl: row 1"):
                    score(stored, files, tmp_path / "bad", engine)
                (files / "day=2" / "b.jsonl").unlink()
        check_parts(stored, files, tmp_path / "out")


def scoring_with(engine: str, address: str, stored, files: Path, output: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable, "-m", "sentiment", "predict", "--input", str(files), "--output", str(output),
            "--output-dir", str(stored.path.parents[2]), "--engine", engine, "--engine-address", address,
        ],
        stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip


def line_of(process: subprocess.Popen, told: str) -> str:
    return next(line for line in process.stderr if told in line)


@pytest.mark.real
@pytest.mark.slow
def test_a_spark_master_without_workers_is_spoken_of(stored, files, tmp_path):
    with spark_master(0, tmp_path / "spark") as address:
        process = scoring_with("spark", address, stored, files, tmp_path / "out")
        said = line_of(process, "no worker")
        assert f"the Spark master {address} has given no worker" in said
        assert f"`start-worker.sh {address}` adds one; waiting" in said
        wait_for((tmp_path / "out").exists)
        time.sleep(1)  # for Spark itself to wait
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    assert (process.returncode, rest.splitlines()[-1]) == (130, "interrupted")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_ray_cluster_without_a_free_core_is_spoken_of_and_waited_for(stored, files, tmp_path):
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    with cluster_of(1) as cluster:
        ray.init(cluster.address, log_to_driver=False)
        other = ray.remote(num_cpus=1)(type("Other", (), {})).remote()
        ray.get(other.__ray_ready__.remote())
        process = scoring_with("ray", cluster.address, stored, files, tmp_path / "out")
        said = line_of(process, "no free core")
        assert f"the Ray cluster at {cluster.address} has no free core (it has 1 in all)" in said
        ray.kill(other)
        process.communicate(timeout=120)
    assert process.returncode == 0
    check_parts(stored, files, tmp_path / "out")


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
