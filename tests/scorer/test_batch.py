"""Files of every format through a model: every row, in order, whatever happens."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from sentiment.batch import score_file
from sentiment.errors import Parameter, SentimentError, UsageError
from sentiment.records.reader import Reader
from sentiment.scorer import Scorer

ROWS = [
    {"id": "1", "text": 'a good film, "really"', "label": "x"},
    {"id": "2", "text": "two\nlines of bad", "label": "y"},
    {"id": "3", "text": None, "label": "z"},
    {"id": "4", "text": "東京 café great", "label": ""},
]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    stem = path.name.removesuffix(".gz").removesuffix(".zst")
    if stem.endswith(".parquet"):
        parquet.write_table(pa.Table.from_pylist(rows), path)
        return
    text = io.StringIO(newline="")
    if stem.endswith(".jsonl"):
        text.writelines(json.dumps(row) + "\n" for row in rows)
    elif stem.endswith(".txt"):
        text.writelines(f"{row['text']}\n".replace("two\n", "two ") for row in rows)
    else:
        writer = csv.DictWriter(text, list(rows[0]), delimiter="," if ".csv" in stem else "\t")
        writer.writeheader()
        writer.writerows(rows)
    raw = text.getvalue().encode()
    if path.suffix == ".gz":
        raw = gzip.compress(raw)
    elif path.suffix == ".zst":
        raw = _zstd(raw)
    path.write_bytes(raw)


def _zstd(raw: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(raw)
    return bytes(sink.getvalue())


def read_rows(path: Path) -> list[dict[str, Any]]:
    stem = path.name.removesuffix(".gz").removesuffix(".zst")
    if stem.endswith(".parquet"):
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    elif path.suffix == ".zst":
        raw = pa.CompressedInputStream(pa.BufferReader(raw), "zstd").read()
    if stem.endswith(".jsonl"):
        return [json.loads(line) for line in raw.decode().splitlines()]
    delimiter = "," if ".csv" in stem else "\t"
    return list(csv.DictReader(io.StringIO(raw.decode(), newline=""), delimiter=delimiter))


@pytest.mark.parametrize("to", ["csv", "tsv", "jsonl", "parquet", "csv.gz", "jsonl.zst", "csv.bz2"])
@pytest.mark.parametrize("of", ["csv", "tsv.gz", "jsonl", "jsonl.zst", "parquet"])
def test_every_format_into_every_other(
    of: str, to: str, scorer: Scorer, output_dir: Path, tmp_path: Path, cli: Any
) -> None:
    source, target = tmp_path / f"in.{of}", tmp_path / f"out.{to}"
    write_rows(source, ROWS)
    answer = cli("predict", "--input", source, "--output", target, "--output-dir", output_dir)
    assert answer.code == 0, answer.err
    assert answer.out == ""
    assert "1 without text" in answer.err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, target.name])
    if to == "csv.bz2":
        return
    found = read_rows(target)
    assert [row["id"] for row in found] == ["1", "2", "3", "4"]
    for row, given_row in zip(found, ROWS, strict=True):
        assert (row["text"] or None) == given_row["text"]
        assert row["label"] == given_row["label"]  # the file's own column stays
        if given_row["text"] is None:
            assert row["predicted_label"] == ""
            continue
        expected = scorer.predict_one(str(given_row["text"]))
        assert row["predicted_label"] == expected.label
        assert float(row["confidence"]) == pytest.approx(expected.confidence, abs=1e-9)
        positive = (
            row["probabilities"]["positive"] if "jsonl" in to else row["probability_positive"]
        )
        assert float(positive) == pytest.approx(expected.probabilities[1], abs=1e-9)


def test_a_file_of_class_folders_is_a_text_unless_its_lines_are_asked_for(
    scorer: Scorer, output_dir: Path, tmp_path: Path, cli: Any
) -> None:
    texts = {}
    for name in ("neg", "pos"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in (1, 2):
            texts[f"{name}{number}"] = text = f"a {name} film {number}\nof two lines"
            (tmp_path / "in" / name / f"{number}.txt").write_text(text)
    words = ["predict", "--input", tmp_path / "in", "--output-dir", output_dir]
    answer = cli(*words, "--output", tmp_path / "out.jsonl", "--workers", 2)
    assert answer.code == 0, answer.err
    found = read_rows(tmp_path / "out.jsonl")
    assert [row["text"] for row in found] == list(texts.values())
    assert [row["label"] for row in found] == ["neg", "neg", "pos", "pos"]
    assert [row["predicted_label"] for row in found] == [
        scorer.predict_one(text).label for text in texts.values()
    ]
    assert len(cli(*words, "--format", "lines").out.splitlines()) == 8


def test_plain_lines_in_and_out(scorer: Scorer, output_dir: Path, tmp_path: Path, cli: Any) -> None:
    texts = ["good", "", "bad\u2028film", "x" * 1000, "great\r"]
    (tmp_path / "in.txt").write_bytes("\n".join(texts).encode())
    answer = cli("predict", "--input", tmp_path / "in.txt", "--output-dir", output_dir)
    lines = answer.out.splitlines()
    assert len(lines) == 5
    for line, text in zip(lines, texts, strict=True):
        label, confidence, *note = line.split("\t")
        if text in ("", "x" * 1000):
            assert note == ["no text" if not text else "no known word"]
        if not text:
            assert label == confidence == ""
            continue
        expected = scorer.predict_one(text)
        assert (label, float(confidence)) == (expected.label, pytest.approx(expected.confidence))


def test_a_low_confidence_abstains(
    scorer: Scorer, output_dir: Path, tmp_path: Path, cli: Any
) -> None:
    (tmp_path / "in.txt").write_text("good\nunknown\n")
    answer = cli(
        "predict",
        "--input",
        tmp_path / "in.txt",
        "--min-confidence",
        "1",
        "--output-dir",
        output_dir,
    )
    expected = [scorer.predict_one(text).label for text in ("good", "unknown")]
    rows = [line.split("\t") for line in answer.out.splitlines()]
    assert [(row[0], *row[2:]) for row in rows] == [("", "abstained", label) for label in expected]
    assert "2 abstained" in answer.err
    assert cli("predict", "x", "--min-confidence", "2", "--output-dir", output_dir).code == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"id,label\n1,2\n", "no column 'text'"),
        ("a.csv", b"text,text\na,b\n", "twice"),
        ("a.csv", b"id,text\n1,good\n2\n", "row 2"),
        ("a.csv", b'id,text\n1,"good\n', "row 1"),
        ("a.csv", b"id,text\n1,good\n2,\xff\xfe\n", "line 3: not UTF-8"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8"),
        ("a.tsv", b"text\tid\nx\n", "row 1"),
        ("a.jsonl", b'{"text": "a"}\nnot json\n', "row 2: not JSON"),
        ("a.jsonl", b'{"text": "a"}\n[1]\n', "row 2: not a JSON object"),
        ("a.jsonl", b'{"text": "a"}\n{"txt": "a"}\n', "row 2: no column 'text'"),
        ("a.jsonl", b'{"text": 5}\n', "row 1: 'text' is not a text"),
        ("a.jsonl", b"[" * 100_000, "row 1"),
        ("a.txt", b"good\n\xff\n", "row 2: not UTF-8"),
        ("a.txt", b"ok\n" + b"x" * (17 << 20), "row 2: longer than 16 MB"),
        ("a.csv", b"text\n" + b"x" * (17 << 20), "longer than 16 MB"),
        ("a.parquet", b"", "not a Parquet file"),
        ("a.parquet", b"PAR1" + b"\0" * 50 + b"PAR1", "not a Parquet file"),
        ("a.txt.gz", b"not gzip", "row 1"),
        ("a.txt.gz", gzip.compress(b"good\n" * 1000, mtime=0)[:-10], "cannot be read"),
        ("a.jsonl.zst", b"not zstd", "row 1"),
    ],
)
def test_wrong_bytes_are_one_line_with_file_and_row(
    name: str, content: bytes, said: str, output_dir: Path, tmp_path: Path, cli: Any
) -> None:
    (tmp_path / name).write_bytes(content)
    target = tmp_path / "out.jsonl"
    answer = cli(
        "predict", "--input", tmp_path / name, "--output", target, "--output-dir", output_dir
    )
    errors = [line for line in answer.err.splitlines() if line.startswith("error:")]
    assert answer.code == 2
    assert len(errors) == 1
    assert name in errors[0]
    assert said in errors[0]
    assert "Traceback" not in answer.err
    assert not target.exists()


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    raw=st.binary(max_size=200)
    | st.text('text,a"\n\t{}:[]é\ud7ff', max_size=80).map(
        lambda text: ("text,b\n" + text).encode()
    ),
    kind=st.sampled_from(["csv", "tsv", "jsonl", "parquet", "lines"]),
)
def test_any_bytes_are_answered_row_by_row_or_refused(
    raw: bytes, kind: Any, scorer: Scorer, tmp_path: Path
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(raw)
    try:
        with Reader(str(source), kind) as reader:
            n_rows = sum(len(batch) for batch in reader)
        with Reader(str(source), kind) as reader:
            summary = score_file(scorer, reader, str(target), "jsonl", force=True)
    except SentimentError as refused:
        assert "\n" not in str(refused)  # noqa: PT017 - may be refused, need not
    else:
        assert summary.n_rows == n_rows == len(target.read_text().splitlines())


@pytest.mark.parametrize("kind", ["csv", "jsonl", "txt"])
@pytest.mark.parametrize("keep", [0, 1, 0.3, 0.77, 1.0])
def test_resuming_neither_loses_nor_repeats_a_row(
    kind: str, keep: float, scorer: Scorer, output_dir: Path, tmp_path: Path, cli: Any
) -> None:
    source = tmp_path / "in.jsonl"
    rows = [{"id": str(i), "text": f'good "{i}"\nbad, film'} for i in range(50)]
    write_rows(source, rows)
    target, partial = tmp_path / f"out.{kind}", tmp_path / f"out.{kind}.partial"
    words = ["predict", "--input", source, "--output", target, "--output-dir", output_dir]
    assert cli(*words, "--batch-size", 7).code == 0
    whole = target.read_bytes()
    target.unlink()
    partial.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    notes = {
        "model": scorer.digest,
        "input": str(source),
        "text_column": "text",
        "format": "lines" if kind == "txt" else kind,
        "top": None,
        "min_confidence": 0.0,
    }
    (tmp_path / f"out.{kind}.partial.json").write_text(json.dumps(notes))
    answer = cli(*words, "--resume")
    assert answer.code == 0, answer.err
    assert target.read_bytes() == whole
    assert not partial.exists()


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize("lost", [1, 8, 9, 300, None])
def test_a_parquet_output_goes_on_after_its_last_whole_batch(
    kind: str,
    lost: int | None,
    output_dir: Path,
    tmp_path: Path,
    cli: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever of the file a dying process did not write; ``None`` is all of it."""
    source, target = tmp_path / f"in.{kind}", tmp_path / "out.parquet"
    write_rows(source, [{"id": i, "text": f"good film {i}"} for i in range(60)])
    words = ["predict", "--input", source, "--output", target, "--output-dir", output_dir]
    assert cli(*words, "--batch-size", 8).code == 0
    whole = parquet.read_table(target)
    target.unlink()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sentiment.records.target.to_parquet", interrupted)
    assert cli(*words, "--batch-size", 8).code == 130
    monkeypatch.undo()
    partial = tmp_path / "out.parquet.partial"
    left = partial.read_bytes()
    partial.write_bytes(b"" if lost is None else left[:-lost])
    answer = cli(*words, "--resume")
    assert answer.code == 0, answer.err
    assert ("from before" in answer.err) == (lost is not None)
    assert parquet.read_table(target).equals(whole)
    assert not list(tmp_path.glob("*out.parquet*.*"))


def test_resuming_refuses_another_input_and_what_cannot_be_resumed(
    output_dir: Path, tmp_path: Path, cli: Any
) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("good\n" * 5)
    words = ["predict", "--output-dir", output_dir, "--resume"]
    (tmp_path / "out.txt.partial").write_text("positive\t0.9\n")
    notes = {"model": "0" * 64}
    (tmp_path / "out.txt.partial.json").write_text(json.dumps(notes))
    answer = cli(*words, "--input", tmp_path / "a.txt", "--output", tmp_path / "out.txt")
    assert answer.code == 2
    assert "another model" in answer.err
    answer = cli(*words, "--input", tmp_path / "a.txt", "--output", tmp_path / "out.csv.gz")
    assert answer.code == 2
    assert "uncompressed" in answer.err
    assert cli(*words, "--input", tmp_path / "a.txt").code == 2


@pytest.fixture
def interrupted(output_dir: Path, tmp_path: Path, cli: Any) -> tuple[Path, Path, list[object]]:
    """An input of 200 rows, half of whose answers are written."""
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    lines = ["text", *(f"good film {i}" if i % 2 else f"bad film {i}" for i in range(200))]
    words = ["predict", "--input", source, "--output", target, "--output-dir", output_dir]
    # The last row cannot be read: what came before stays.
    source.write_bytes(("\n".join(lines) + "\n").encode() + b"\xff\n")
    assert cli(*words, "--batch-size", 20).code == 2
    assert (tmp_path / "out.csv.partial").exists()
    return source, target, words


def test_resuming_goes_on_with_rows_that_were_added_and_refuses_a_changed_input(
    interrupted: tuple[Path, Path, list[object]], cli: Any
) -> None:
    source, target, words = interrupted
    before = source.read_bytes()
    source.write_bytes(before.replace(b"text\n", b"text\none row in front\n"))
    answer = cli(*words, "--resume")
    assert answer.code == 2
    assert "has changed since" in answer.err
    source.write_bytes(before[:-10])
    assert cli(*words, "--resume").code == 2
    source.write_bytes(before.replace(b"good film 5\n", b"good film 7\n"))
    assert cli(*words, "--resume").code == 2
    # The same beginning, and more of it.
    source.write_bytes(before + b"another row\n")
    answer = cli(*words, "--resume")  # the row that cannot be read is still there
    assert answer.code == 2
    assert "not UTF-8" in answer.err
    assert not target.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--encoding", "cp1251"], "another encoding (None)"),
        (["--delimiter", ";"], "another delimiter (None)"),
        (["--quote", "none"], "another quote (None)"),
        (["--format", "lines"], "another input format (csv)"),
    ],
)
def test_a_file_is_gone_on_with_as_it_was_begun(
    interrupted: tuple[Path, Path, list[object]], cli: Any, words: list[str], said: str
) -> None:
    answer = cli(*interrupted[2], "--resume", *words)
    assert (answer.code, said in answer.err) == (2, True), answer.err


def test_a_last_row_that_was_not_whole_is_no_row_that_others_follow(
    interrupted: tuple[Path, Path, list[object]], cli: Any
) -> None:
    source, _, words = interrupted
    cut = source.read_bytes().rstrip(b"\n")
    source.write_bytes(cut)
    assert cli(*words, "--batch-size", 20, "--force").code == 2
    source.write_bytes(cut + b" and on\n")
    assert "has changed since" in cli(*words, "--resume").err
    source.write_bytes(cut + b"\nanother row\n")
    assert "not UTF-8" in cli(*words, "--resume").err
    # What was added is now what was read.
    source.write_bytes(cut + b"\nyet another\n")
    assert "has changed since" in cli(*words, "--resume").err


def test_resuming_what_is_complete_is_a_success(output_dir: Path, tmp_path: Path, cli: Any) -> None:
    (tmp_path / "in.txt").write_text("good\nbad\n")
    words = ["predict", "--input", tmp_path / "in.txt", "--output", tmp_path / "out.txt"]
    words += ["--output-dir", output_dir, "--resume"]
    assert cli(*words).code == 0
    whole = (tmp_path / "out.txt").read_bytes()
    answer = cli(*words)
    assert answer.code == 0
    assert "is complete" in answer.err
    assert (tmp_path / "out.txt").read_bytes() == whole


def test_two_cannot_write_one_output(output_dir: Path, tmp_path: Path, cli: Any) -> None:
    import fcntl

    (tmp_path / "in.txt").write_text("good\n")
    words = ["predict", "--input", tmp_path / "in.txt", "--output", tmp_path / "out.txt"]
    with (tmp_path / "out.txt.partial").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        answer = cli(*words, "--output-dir", output_dir)
    assert answer.code == 2
    assert "another process is writing it" in answer.err
    assert cli(*words, "--output-dir", output_dir).code == 0


@pytest.mark.slow
def test_workers_end_with_their_parent(output_dir: Path, tmp_path: Path) -> None:
    import psutil

    source = tmp_path / "in.jsonl"
    write_rows(source, [{"text": "good bad film " * 40}] * 30_000)
    process = subprocess.Popen(
        [
            sys.executable, "-m", "sentiment", "predict", "--input", str(source), "--output",
            str(tmp_path / "out.jsonl"), "--output-dir", str(output_dir), "--workers", "3",
        ],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    parent = psutil.Process(process.pid)
    end = time.monotonic() + 30
    while len(parent.children()) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    children = parent.children()
    assert len(children) >= 3
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=4)
    assert not alive


def test_a_parent_that_died_before_anybody_looked_is_missed() -> None:
    """Who started it is told, and not asked: the asked id is that of another by then."""
    program = (
        "import time; from sentiment.parent import end_as_bound; end_as_bound(); time.sleep(60)"
    )
    environment = {**os.environ, "SENTIMENT_PARENT_PID": "999999999"}
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=50, env=environment)
    assert done.returncode == 1
    assert time.monotonic() - begin < 30


def test_an_output_is_not_overwritten_without_force(
    output_dir: Path, tmp_path: Path, cli: Any
) -> None:
    (tmp_path / "in.txt").write_text("good\n")
    (tmp_path / "out.txt").write_text("precious")
    words = ["predict", "--input", tmp_path / "in.txt", "--output-dir", output_dir]
    answer = cli(*words, "--output", tmp_path / "out.txt")
    assert answer.code == 2
    assert "--force" in answer.err
    assert (tmp_path / "out.txt").read_text() == "precious"
    assert cli(*words, "--output", tmp_path / "out.txt", "--force").code == 0
    assert (tmp_path / "out.txt").read_text().startswith("positive\t")
    assert cli(*words, "--output", tmp_path / "in.txt", "--force").code == 2
    assert cli(*words, "--output", tmp_path / "no" / "out.txt").code == 2


def test_worker_processes_give_the_same_file(scorer: Scorer, tmp_path: Path) -> None:
    rows = [{"text": f"good film number {i}" if i % 7 else None} for i in range(300)]
    write_rows(tmp_path / "in.parquet", rows)
    for workers in (1, 3):
        reader = Reader(str(tmp_path / "in.parquet"), "parquet", batch_size=16)
        target = tmp_path / f"{workers}.csv"
        summary = score_file(scorer, reader, str(target), "csv", workers=workers)
        assert (summary.n_rows, summary.n_null) == (300, 43)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "3.csv").read_bytes()


def test_more_processes_than_any_machine_has_use_of_are_refused(
    scorer: Scorer, tmp_path: Path
) -> None:
    write_rows(tmp_path / "in.jsonl", [{"text": "fine"}])
    reader = Reader(str(tmp_path / "in.jsonl"), "jsonl")
    with pytest.raises(UsageError, match="at most 256 processes") as refused:
        score_file(scorer, reader, str(tmp_path / "out.csv"), "csv", workers=1000)
    assert refused.value.shown(Parameter.as_option).startswith("--workers 1000: ")
    assert [file.name for file in tmp_path.iterdir()] == ["in.jsonl"]


def start(words: list[Any], **options: Any) -> subprocess.Popen[bytes]:
    # Not measured: an interrupt inside of coverage's lock would never give it back.
    environment = {k: v for k, v in os.environ.items() if k != "MEASURE"}
    return subprocess.Popen(
        [sys.executable, "-m", "sentiment", *map(str, words)],
        stderr=subprocess.PIPE,
        env=environment,
        **options,
    )


def test_lines_are_answered_at_once(output_dir: Path) -> None:
    words = ["predict", "--input", "-", "--line-buffered", "--output-dir", output_dir]
    process = start(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    for text, label in (("good", b"positive"), ("bad", b"negative"), ("wonderful", b"positive")):
        process.stdin.write(f"{text}\n".encode())
        process.stdin.flush()
        assert process.stdout.readline().startswith(label)
    process.stdin.close()
    assert process.wait(20) == 0
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()


def test_a_closed_pipe_ends_quietly(output_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("good\n" * 200_000)
    words = ["predict", "--input", tmp_path / "in.txt", "--output-dir", output_dir]
    process = start(words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(20) == 0
    assert "Error" not in errors
    assert "error" not in errors


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("out.csv", True),
        pytest.param("out.parquet", True, marks=pytest.mark.slow),
        pytest.param("out.csv.gz", False, marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_leaves_what_can_be_resumed_and_nothing_else(
    name: str, kept: bool, output_dir: Path, tmp_path: Path, cli: Any
) -> None:
    source = tmp_path / "in.txt"
    source.write_text("good bad film\n" * 200_000)
    target = tmp_path / name
    words = ["predict", "--input", source, "--output", target, "--output-dir", output_dir]
    process = start(words, start_new_session=True)
    partial = tmp_path / f"{name}.partial"
    for _ in range(400):
        if partial.exists() and partial.stat().st_size > (100_000 if kept else 8_000):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    errors = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(20) == 130
    assert "Traceback" not in errors
    assert not target.exists()
    assert partial.exists() == kept
    assert ("rows are kept; --resume goes on" in errors) == kept
    if kept:
        assert cli(*words, "--resume").code == 0
        assert len(read_rows(target)) == 200_000


def test_what_a_label_alone_does_not_say_is_noted(
    scorer: Scorer, output_dir: Path, tmp_path: Path, cli: Any
) -> None:
    """No text, no known word, a label withheld: in every door and format."""
    texts = ["good film", "", "  \t", "qqqq zzzz"]
    notes = [None, "no text", "no text", "no known word"]
    answer = cli("predict", *texts, "--json", "--output-dir", output_dir)
    assert [row["note"] for row in answer.documents] == notes
    assert [row["label"] == "" for row in answer.documents] == [False, True, True, False]
    assert answer.documents[1]["probabilities"] is None
    plain = cli("predict", *texts, "--output-dir", output_dir).out.splitlines()
    assert [line.split("\t")[2:] for line in plain] == [[note] if note else [] for note in notes]
    write_rows(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    for kind in ("csv", "tsv", "jsonl", "parquet"):
        target = tmp_path / f"out.{kind}"
        words = ["--input", tmp_path / "in.jsonl", "--output", target, "--output-dir", output_dir]
        answer = cli("predict", *words)
        assert "2 without text, 1 of which no word is known" in answer.err
        assert [row["note"] or None for row in read_rows(target)] == notes
    answer = cli("predict", "good", "--min-confidence", "1", "--json", "--output-dir", output_dir)
    assert (answer.document["label"], answer.document["note"]) == (None, "abstained")
    assert answer.document["would_be"] == scorer.predict_one("good").label


def test_not_a_number_is_null_in_json(output_dir: Path, tmp_path: Path, cli: Any) -> None:
    (tmp_path / "in.jsonl").write_text(
        '{"text": "good", "x": NaN, "y": {"z": [Infinity, 1e999]}}\n'
    )
    words = ["--input", tmp_path / "in.jsonl", "--output-dir", output_dir]
    row = json.loads(cli("predict", *words).out, parse_constant=pytest.fail)
    assert (row["x"], row["y"]) == (None, {"z": [None, None]})
    target = tmp_path / "out.csv"
    assert cli("predict", *words, "--output", target).code == 0
    assert json.loads(read_rows(target)[0]["y"], parse_constant=pytest.fail) == {"z": [None, None]}


def test_fewer_probabilities_when_asked(output_dir: Path, tmp_path: Path, cli: Any) -> None:
    write_rows(tmp_path / "in.jsonl", [{"text": "good"}, {"text": None}])
    words = ["predict", "--input", tmp_path / "in.jsonl", "--output-dir", output_dir, "--force"]
    for kind in ("csv", "parquet"):
        target = tmp_path / f"out.{kind}"
        assert cli(*words, "--output", target, "--top", 1).code == 0
        first, second = read_rows(target)
        assert list(first)[1:] == ["label", "confidence", "top_1", "top_1_probability", "note"]
        assert (first["top_1"], float(first["top_1_probability"])) == (
            first["label"],
            float(first["confidence"]),
        )
        assert not second["top_1"]
        assert cli(*words, "--output", target, "--no-probabilities").code == 0
        assert list(read_rows(target)[0])[1:] == ["label", "confidence", "note"]
    first, second = cli(*words, "--top", 1).documents
    assert first["probabilities"] == {first["label"]: first["confidence"]}
    assert second["probabilities"] is None
    assert "probabilities" not in cli(*words, "--no-probabilities").documents[0]
    assert len(cli(*words, "--top", 9).documents[0]["probabilities"]) == 2
