"""Where rows lie: one vocabulary, whatever the command, on this machine and in a real store."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from support import s3
from support.waiting import free_port

from sentiment.data.sources import labelled_chunks
from sentiment.errors import DataError, MissingExtraError, UsageError
from sentiment.parts import plan_parts, score_parts
from sentiment.records import places
from sentiment.records.reader import Reader
from sentiment.records.rows import Several, open_rows
from sentiment.store import resolve
from sentiment.text.engine import Threads

ROWS = [
    (f"{word} film number {number}", label)
    for number in range(60)
    for word, label in (("good moving", "positive"), ("bad dull", "negative"))
]


def write(path: Path, rows=ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame(rows, schema=["text", "label"], orient="row")
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_ndjson(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two partitions of three files, and what is no data."""
    root = tmp_path / "reviews"
    write(root / "year=2025" / "part-0.parquet", ROWS[:40])
    write(root / "year=2026" / "part-0.parquet", ROWS[40:80])
    write(root / "year=2026" / "part-1.parquet", ROWS[80:])
    (root / "_SUCCESS").touch()
    (root / "year=2025" / ".part-0.parquet.crc").write_bytes(b"x")
    (root / "README.md").write_text("about")
    return root


def read(where: object) -> list[dict]:
    with open_rows(str(where)) as rows:
        return [record for batch in rows for record in batch.records()]


def test_a_folder_is_its_files_in_order_and_partitions_are_columns(folder: Path):
    rows = read(folder)
    assert [row["text"] for row in rows] == [text for text, _ in ROWS]
    assert [row["year"] for row in rows] == ["2025"] * 40 + ["2026"] * 80
    assert "year" not in read(f"{folder}/year=2026")[0]


@pytest.mark.parametrize(
    ("where", "n"),
    [
        ("{}/year=2025/part-0.parquet", 40),
        ("{0}/year=2025/part-0.parquet,{0}/year=2026/part-1.parquet", 80),
        ("[{0}/year=2026/part-1.parquet, {0}/year=2025/part-0.parquet]", 80),
        ("{}/*/part-0.parquet", 80),
        ("{}/**/*.parquet", 120),
        ("{}/year=*", 120),
        ("file://{}", 120),
    ],
)
def test_files_folders_and_globs(folder: Path, where: str, n: int):
    assert len(read(where.format(folder))) == n


def test_one_file_is_read_as_before_and_several_say_which_row_is_wrong(tmp_path: Path):
    good = write(tmp_path / "a.jsonl")
    assert isinstance(open_rows(str(good)), Reader)
    bad = tmp_path / "b.jsonl"
    bad.write_text('{"text": "fine"}\n{"text": 3}\n')
    rows = open_rows(str(tmp_path))
    assert isinstance(rows, Several)
    with pytest.raises(DataError, match=r"b\.jsonl: row 2: 'text' is not a text"):
        list(rows)


def test_a_comma_in_a_name_is_a_name(tmp_path: Path):
    assert len(read(write(tmp_path / "a,b.csv"))) == len(ROWS)


@pytest.mark.parametrize("where", ["nowhere", "none-*.csv", "ftps://x/y.csv", "s4://b/k.csv"])
def test_what_is_not_there_is_one_line(tmp_path: Path, where: str, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((DataError, UsageError)) as error:
        open_rows(where, "csv")
    assert "\n" not in str(error.value)
    assert where.partition("*")[0] in str(error.value)


def test_what_lies_there_is_listed_and_removed(tmp_path: Path):
    assert places.names_in(str(tmp_path / "nowhere")) == []
    write(tmp_path / "a.csv")
    assert places.names_in(str(tmp_path)) == ["a.csv"]
    for _ in range(2):  # what is gone is gone
        places.remove(str(tmp_path / "a.csv"))
        assert places.names_in(str(tmp_path)) == []


def test_an_empty_folder_says_what_it_looked_for(tmp_path: Path):
    with pytest.raises(DataError, match=r"holds no file of rows \(\.csv"):
        open_rows(str(tmp_path))


def test_a_glob_that_matches_nothing_says_so(tmp_path: Path):
    write(tmp_path / "year=2025/a.csv")
    with pytest.raises(DataError, match=r"\*\.parquet: no file matches"):
        open_rows(f"{tmp_path}/year=*/*.parquet")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path):
    path = write(tmp_path / "a.csv", ROWS * 200)
    with open_rows(str(path), batch_size=64) as rows:
        batches = iter(rows)
        next(batches)
        with path.open("a") as file:
            file.write("late,positive\n")
        with pytest.raises(DataError, match="has changed while it was read"):
            list(batches)


@pytest.mark.slow
def test_training_reads_folders_and_keeps_partitions_as_columns(folder: Path):
    chunks = labelled_chunks(
        str(folder), text_column="text", label_column="label", extra=["year"], chunk_rows=1000
    )
    frame = pl.concat(chunks)
    assert frame.height == len(ROWS)
    assert frame["column:year"].unique().sort().to_list() == ["2025", "2026"]


@pytest.mark.slow
def test_an_extra_that_is_missing_is_named():
    code = (
        "import sys; sys.modules['gcsfs'] = None\n"
        "import importlib.util as u\n"
        "real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'gcsfs' else real(name, *a)\n"
        "from sentiment.cli import main\n"
        "sys.argv = ['sentiment', 'monitor', '--input', 'gs://bucket/a.csv']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "gs:// needs the extra 'gcs': pip install" in done.stderr
    assert issubclass(MissingExtraError, UsageError)


@pytest.mark.slow
def test_https_is_read_and_never_written(folder: Path):
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        assert len(read(f"{address}/year=2025/part-0.parquet?token=1")) == 40
        with pytest.raises(DataError, match="no such file: http"):
            read(f"{address}/none.csv")
        with pytest.raises(UsageError, match="http is read only"):
            places.check_writable(f"{address}/out.csv")
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(DataError, match="the store refuses .*127.0.0.1"):  # nobody is there
        read(f"{address}/a.csv")


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_one_line_with_its_variables(monkeypatch):
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    for name, value in s3.environment(free_port()).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DataError, match=r"s3://b/k\.csv: .*AWS_ENDPOINT_URL") as error:
        read("s3://b/k.csv")
    assert "\n" not in str(error.value)


@pytest.mark.real
@pytest.mark.slow
def test_a_real_store_gives_and_takes_what_every_command_reads_and_writes(
    tmp_path: Path, folder: Path, monkeypatch, cli
):
    with s3.running(tmp_path) as port:
        for name, value in s3.environment(port).items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()  # of a store that another test knew
        store = s3fs.S3FileSystem(skip_instance_cache=True)
        store.mkdir("bucket")
        store.put(str(folder), "bucket/reviews", recursive=True)
        where = "s3://bucket/reviews"
        assert read(where) == read(folder)
        assert read(f"{where}/year=2026/*.parquet") == [
            {key: value for key, value in row.items() if key != "year"} for row in read(folder)[40:]
        ]

        # Trained from there, its artifacts kept there, and found again by another output_dir.
        trained = cli(
            "train", f"{where}/", "tracking.artifacts=s3://bucket/mlflow", "data.split=random",
            "vectorizer.ngram_range=[1,1]", "data.test_size=0.25", "--json",
        )  # fmt: skip
        assert trained.code == 0, trained.err
        run = trained.document["run_id"]
        assert store.exists("bucket/mlflow")
        (tmp_path / "outputs" / "models").rename(tmp_path / "gone")
        answer = cli("predict", "--model", f"runs:/{run}", "a good film")
        assert answer.out.startswith("positive"), answer.err

        scored = cli(
            "predict", "--model", f"runs:/{run}", "-i", where, "-o", "s3://bucket/out.parquet"
        )
        assert scored.code == 0, scored.err
        rows = read("s3://bucket/out.parquet")
        assert [row["text"] for row in rows] == [text for text, _ in ROWS]
        assert {row["year"] for row in rows} == {"2025", "2026"}
        again = cli(
            "predict", "--model", f"runs:/{run}", "-i", where, "-o", "s3://bucket/out.parquet"
        )
        assert again.code == 2
        assert "exists; --force replaces it" in again.err

        # An engine's parts: what stood there and is no part of these goes.
        for name in ("_SUCCESS", "part-00003.parquet", "part-00009.parquet", "mine.txt"):
            store.pipe(f"bucket/parts/{name}", b"x")
        with pytest.raises(UsageError, match="holds parts already; force replaces them"):
            plan_parts(where, "s3://bucket/parts")
        plan = plan_parts(where, "s3://bucket/parts/", force=True)
        stored = resolve(trained.document["digest"], tmp_path / "outputs")
        score_parts(stored.path, stored.digest, plan, Threads())
        assert sorted(places.names_in("s3://bucket/parts")) == [
            "_SUCCESS", "mine.txt", *(f"part-0000{number}.parquet" for number in range(3)),
        ]  # fmt: skip
        assert len(read("s3://bucket/parts/part-*")) == len(ROWS)

        # A row that cannot be read: nothing stands at the address.
        bad = "\n".join([*[json.dumps({"text": "x"})] * 900, '{"text": 1}'])
        store.pipe("bucket/bad.jsonl", bad.encode())
        broken = cli(
            "predict",
            "--model",
            f"runs:/{run}",
            "-i",
            "s3://bucket/bad.jsonl",
            "-o",
            "s3://bucket/b.csv",
        )
        assert broken.code == 2
        assert "s3://bucket/bad.jsonl: row 901" in broken.err
        assert not store.exists("bucket/b.csv")

        measured = cli("evaluate", "--model", f"runs:/{run}", "-i", where, "--json")
        assert measured.document["n"] == len(ROWS)
        drift = cli("monitor", "--model", f"runs:/{run}", "-i", where, "--json")
        assert drift.document["texts"] == len(ROWS)

        missing = cli("evaluate", "--model", f"runs:/{run}", "-i", "s3://bucket/review")
        assert missing.code == 2
        assert "no such file: s3://bucket/review; did you mean 'reviews'?" in missing.err

        # Refused: which address, which variable.
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        s3fs.S3FileSystem.clear_instance_cache()
        refused = cli("evaluate", "--model", f"runs:/{run}", "-i", "s3://bucket/bad.jsonl")
        assert refused.code == 2
        assert "s3://bucket/bad.jsonl" in refused.err
        assert "AWS_SECRET_ACCESS_KEY" in refused.err
