"""Files as strangers write them: the same rows, or one line that says what to do."""

from __future__ import annotations

import gzip
import io
import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from sentiment.data.labels import label_of, named_labels
from sentiment.data.splits import load_splits
from sentiment.errors import DataError, UsageError
from sentiment.records.dialect import Dialect
from sentiment.records.formats import find_format
from sentiment.records.reader import Reader

TWO = [{"text": "a fine film", "label": "good"}, {"text": "it was “dull”", "label": "bad"}]
COLUMNS = {name: {str(i): row[name] for i, row in enumerate(TWO)} for name in ("text", "label")}


def rows(path, **options):
    dialect = Dialect(
        **{k: options.pop(k) for k in ("delimiter", "quote", "encoding") if k in options}
    )
    with Reader(str(path), find_format(str(path), None), dialect=dialect, **options) as reader:
        return [row for batch in reader for row in batch.records()], reader


def table(text):
    return text.encode()


SAME = {
    "blank.jsonl": b"\n" + b"\n\n".join(json.dumps(row).encode() for row in TWO) + b"\n\n",
    "crlf.jsonl": b"\r\n".join(json.dumps(row).encode() for row in TWO) + b"\r\n",
    "bom.jsonl": b"\xef\xbb\xbf" + b"\n".join(json.dumps(row).encode() for row in TWO),
    "array.json": json.dumps(TWO).encode(),
    "indented.json": json.dumps(TWO, indent=2).encode(),
    "spaced.json": b" \n\t" + json.dumps(TWO, indent=4).encode() + b"\n\n",
    "columns.json": json.dumps(COLUMNS).encode(),
    "columns_indented.json": json.dumps(COLUMNS, indent=1).encode(),
    "lists.json": json.dumps({k: list(v.values()) for k, v in COLUMNS.items()}).encode(),
    "split.json": json.dumps(
        {"columns": ["text", "label"], "index": [0, 1], "data": [list(r.values()) for r in TWO]}
    ).encode(),
    "index.json": json.dumps({str(i): row for i, row in enumerate(TWO)}).encode(),
    "table.json": json.dumps({"schema": {"fields": []}, "data": TWO}).encode(),
    "objects.json": "\n".join(json.dumps(row, indent=2) for row in TWO).encode(),
    "columns_utf16.json": json.dumps(COLUMNS, ensure_ascii=False).encode("utf-16"),
    "returns.csv": table("text,label\ra fine film,good\rit was “dull”,bad\r"),
    "trailing.csv": table("text,label\na fine film,good,\nit was “dull”,bad,,\n"),
    "empty_rows.csv": table("text,label\n   \na fine film,good\n \nit was “dull”,bad\n"),
    "blank.csv": table("\ntext,label\n\na fine film,good\n\nit was “dull”,bad\n\n\n"),
    "crlf.csv": table("text,label\r\n\r\na fine film,good\r\nit was “dull”,bad\r\n"),
    "bom.csv": b"\xef\xbb\xbf" + table("text,label\na fine film,good\nit was “dull”,bad\n"),
    "semicolon.csv": table("text;label\na fine film;good\nit was “dull”;bad\n"),
    "pipe.csv": table("text|label\na fine film|good\nit was “dull”|bad\n"),
    "tab.csv": table("text\tlabel\na fine film\tgood\nit was “dull”\tbad\n"),
    "excel.csv": table("sep=;\r\ntext;label\r\na fine film;good\r\nit was “dull”;bad\r\n"),
    "unnamed.csv": table("text,label,,\na fine film,good,,\nit was “dull”,bad,,\n"),
    "blanks.csv": table(" text , label \na fine film,good\nit was “dull”,bad\n"),
    "utf16.csv": "text,label\r\na fine film,good\r\nit was “dull”,bad\r\n".encode("utf-16"),
    "utf16be.csv": b"\xfe\xff"
    + "text,label\na fine film,good\nit was “dull”,bad\n".encode("utf-16-be"),
    "utf16.jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in TWO).encode("utf-16"),
    "quoted.tsv": table('text\tlabel\n"a fine film"\t"good"\n"it was “dull”"\tbad\n'),
    "zipped.csv.gz": gzip.compress(table("text;label\na fine film;good\nit was “dull”;bad\n")),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("batch_size", [1, 100])
def test_the_same_rows_however_a_file_is_written(tmp_path, name, batch_size):
    (tmp_path / name).write_bytes(SAME[name])
    assert rows(tmp_path / name, batch_size=batch_size)[0] == TWO


def test_what_was_found_is_told(tmp_path):
    (tmp_path / "a.csv").write_bytes(SAME["semicolon.csv"])
    assert rows(tmp_path / "a.csv")[1].found == {"delimiter": ";"}
    (tmp_path / "b.csv").write_bytes(SAME["utf16.csv"])
    assert rows(tmp_path / "b.csv")[1].found == {"encoding": "utf-16"}


def test_quotes_that_are_text_stay(tmp_path):
    """As GLUE and pandas without quoting write them."""
    texts = ['"Great" film 5\'9"', 'he said "no', '"', "plain", '"all" of "it"']
    for kind, delimiter in (("tsv", "\t"), ("csv", ";")):
        file = tmp_path / f"bare.{kind}"
        lines = [f"text{delimiter}label", *(f"{text}{delimiter}x" for text in texts)]
        file.write_text("\n".join(lines) + "\n")
        found, reader = rows(file)
        assert [row["text"] for row in found] == texts
        assert reader.found["quote"] == "none"


def test_quotes_far_down_decide_too(tmp_path):
    """Nothing is decided before a quote is seen, however late that is."""
    plain = [f"plain row number {i} with words\t1" for i in range(5000)]
    for name, late, expected in (
        ("bare.tsv", ['"Great" film\t1', 'he said "no\t0'], ['"Great" film', 'he said "no']),
        ("open.tsv", ['"open\t1', "b\t0"], ['"open', "b"]),
        (
            "quoted.tsv",
            ['"she said ""no"""\t1', '"two\nlines"\t0'],
            ['she said "no"', "two\nlines"],
        ),
    ):
        file = tmp_path / name
        file.write_text("\n".join(["text\tlabel", *plain, *late]) + "\n")
        assert [row["text"] for row in rows(file)[0][-2:]] == expected


@pytest.mark.parametrize("cell", ["{}", '"{}"', '"{}\n{}"'])
@pytest.mark.parametrize("at", [1, 3, 900, 2999])
def test_one_broken_row_does_not_change_how_the_others_are_read(tmp_path, cell, at):
    """The row where the quote was opened is named, near the beginning as well as far down."""
    file = tmp_path / "a.csv"
    lines = [cell.replace("{}", f"row {i}") + ",a" for i in range(1, 3001)]
    lines[at - 1] = f'"row {at},a'
    file.write_text("\n".join(["text,label", *lines]) + "\n")
    with pytest.raises(DataError, match=rf"row {at}: line "):
        rows(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"text": "a"},]', "row 2: not JSON"),
        ('[{"text": "a"}] and more', "row 2: not JSON (more after its end"),
        ('[{"text": "a"} {"text": "b"}]', "row 2: not JSON"),
        ('[{"text": "a"}', "row 2: not JSON (it is cut off"),
        (
            '{"text": {"0": "a", "1": "b"}, "label": {"0": 1}}',
            "different lengths (text: 2, label: 1)",
        ),
        ('{"text": ["a", "b"], "label": [1, ', "row 1: not JSON"),
        ('{\n "text": "a"\n}\n{\n "text"', "row 2: not JSON"),
    ],
)
def test_json_that_ends_wrongly_is_not_half_read(tmp_path, content, said):
    file = tmp_path / "a.json"
    file.write_text(content)
    with pytest.raises(DataError) as refused:
        rows(file)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "`git lfs pull`"),
        ("a.jsonl", b"\n <!DOCTYPE html><html>404</html>", "a page of HTML"),
        ("a.tsv", b"PK\x03\x04\x14\x00", "a spreadsheet: save it as CSV"),
        ("a.csv", b"PAR1\x15\x04", "must end with .parquet"),
        ("a.csv", b'\xef\xbb\xbf{"text": "a", "label": 1}\n', "must end with .jsonl"),
    ],
)
def test_what_a_file_is_instead_is_told_with_what_to_do(tmp_path, name, content, said):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DataError) as refused:
        rows(file)
    assert said in str(refused.value)


def test_a_column_that_parquet_names_twice_is_told(tmp_path):
    file = tmp_path / "a.parquet"
    columns = [pa.array(["a"]), pa.array(["b"]), pa.array(["c"])]
    parquet.write_table(pa.table(columns, names=["text", "label", "label"]), file)
    with pytest.raises(DataError, match="names a column twice: text, label, label"):
        load_splits(source="files", name="x", train=str(file))


def test_lines_as_fasttext_wants_them(tmp_path):
    """Labels before their text: for training, and what was predicted goes beside them."""
    path = tmp_path / "train.txt"
    path.write_text(
        "__label__good  A fine film.\n__label__bad __labels__ are words\n__label__bad\n\n"
    )
    with Reader(str(path), "lines") as reader:
        rows = [row for batch in reader for row in batch.records()]
    assert rows == [
        {"text": "A fine film.", "label": "good"},
        {"text": "__labels__ are words", "label": "bad"},
        {"text": "", "label": "bad"},
        {"text": "", "label": None},
    ]
    path.write_text("__label__good fine\n__label__good __label__short fine\n")
    with (
        pytest.raises(DataError, match="row 2: has several labels"),
        Reader(str(path), "lines") as r,
    ):
        list(r)


def test_lists_as_texts_are_no_table_by_columns(tmp_path):
    path = tmp_path / "words.jsonl"
    path.write_text('{"text": ["a", "film"], "label": "x"}\n{"text": ["b"], "label": "y"}\n')
    with (
        pytest.raises(DataError, match="row 1: 'text' is not a text but list"),
        Reader(str(path), "jsonl") as reader,
    ):
        list(reader)


def test_columns_are_read_in_bounded_memory_and_from_a_pipe(tmp_path, monkeypatch):
    import tracemalloc

    n = 8_000  # few and long: the tracer costs by the piece
    file = tmp_path / "a.json"
    columns = {"id": list(range(n)), "text": ["film " * 200] * n, "label": ["x"] * n}
    file.write_text(
        json.dumps({k: {str(i): v for i, v in enumerate(c)} for k, c in columns.items()})
    )
    tracemalloc.start()
    with Reader(str(file), "jsonl") as reader:
        assert sum(map(len, reader)) == n
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < file.stat().st_size / 2
    file.write_text(json.dumps(COLUMNS))
    with file.open("rb") as raw:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(raw))
        with Reader("-", "jsonl") as reader:
            assert [row for batch in reader for row in batch.records()] == TWO


def test_quotes_that_quote_are_removed(tmp_path):
    file = tmp_path / "quoted.csv"
    file.write_text('text,label\n"one, two",x\n"she said ""no""",y\n"two\nlines",x\n')
    assert [row["text"] for row in rows(file)[0]] == ["one, two", 'she said "no"', "two\nlines"]


def test_an_unclosed_quote_is_named_where_it_begins(tmp_path):
    file = tmp_path / "open.csv"
    lines = ["text,label", *(f'"row {i}",a' for i in range(1, 6000))]
    lines[4001] = '"row 4001,a'
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"row 4001: line 4002: .*quote='none'"):
        rows(file)
    assert rows(file, quote="none")[0][4000]["text"] == '"row 4001'


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("text,label\nit’s “fine”,a\n".encode("cp1252"), "cp1252"),
        ("text,label\ncafé,a\n".encode("latin-1"), "cp1252"),
        ("text,label\nsome text,a\n".encode("utf-16-le"), "utf-16-le"),
        ("text,label\nsome text,a\n".encode("utf-16-be"), "utf-16-be"),
        ("text,label\nпривет мир,a\n".encode("cp1251"), "cp1251"),
        ("text,label\nпривет мир,a\n".encode("koi8-r"), "koi8-r"),
        ("text,label\n素晴らしい映画でした,a\n".encode("shift_jis"), "shift_jis"),
        ("text,label\n素晴らしい映画でした,a\n".encode("euc_jp"), "euc_jp"),
        ("text,label\n很好看的电影,a\n".encode("gb18030"), "gb18030"),
        ("text,label\n這部電影很好看,a\n".encode("big5"), "big5"),
        ("text,label\n정말 좋은 영화입니다,a\n".encode("euc_kr"), "euc_kr"),
    ],
)
def test_advice_names_the_encoding_that_works(tmp_path, content, encoding):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(DataError) as refused:
        rows(file)
    assert f"encoding='{encoding}'" in str(refused.value)
    assert rows(file, encoding=encoding)[0][0]["label"] == "a"


def test_wrong_words_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("text\na\n")
    for options, message in (
        ({"delimiter": "ab"}, "one character"),
        ({"quote": "no"}, "one character, or none"),
        ({"encoding": "utf8-sigg"}, "no such encoding"),
    ):
        with pytest.raises(UsageError, match=message):
            rows(tmp_path / "a.csv", **options)


def test_a_large_array_is_read_in_pieces(tmp_path):
    many = [{"text": f"text {i} " + "é" * (i % 50), "label": i % 2, "n": i} for i in range(5000)]
    file = tmp_path / "many.json"
    for indent in (None, 1):
        file.write_text(json.dumps(many, indent=indent, ensure_ascii=False))
        assert rows(file, batch_size=7)[0] == many
    file.write_text(json.dumps(many)[:-40])
    with pytest.raises(DataError, match="row 5000"):
        rows(file)


def test_a_column_is_found_by_case_and_blanks(tmp_path):
    (tmp_path / "a.csv").write_text("Text ,LABEL\na,x\n")
    assert rows(tmp_path / "a.csv")[0] == [{"Text": "a", "LABEL": "x"}]
    (tmp_path / "b.csv").write_text("Text,TEXT\na,x\n")
    with pytest.raises(DataError, match="several columns may be"):
        rows(tmp_path / "b.csv")


def test_standard_input_is_read_as_it_comes(monkeypatch):
    class Pipe(io.RawIOBase):
        def __init__(self):
            self.lines = [b'{"text": "a"}\n', b'{"text": "b"}\n']

        def readable(self):
            return True

        def readinto(self, buffer):
            line = self.lines.pop(0) if self.lines else b""
            buffer[: len(line)] = line
            return len(line)

    pipe = Pipe()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(pipe)))
    reader = iter(Reader("-", "jsonl", batch_size=1))
    assert next(reader).texts == ["a"]
    assert pipe.lines == [b'{"text": "b"}\n']
    assert next(reader).texts == ["b"]


KINDS = {
    "string": pa.array(["a", "b"]),
    "large": pa.array(["a", "b"], pa.large_string()),
    "view": pa.array(["a", "b"], pa.string_view()),
    "dictionary": pa.array(["a", "b"]).dictionary_encode(),
    "binary": pa.array([b"a", b"b"]),
}
LABELS = {
    "bool": (pa.array([True, False]), ["true", "false"]),
    "float": (pa.array([1.0, 0.0]), ["1", "0"]),
    "half": (pa.array([1.0, 2.5], pa.float16()), ["1", "2.5"]),
    "decimal": (pa.array([1, 2], pa.decimal128(5, 2)), ["1", "2"]),
    "date": (pa.array([0, 1], pa.date32()), ["1970-01-01", "1970-01-02"]),
    "dictionary": (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
    "binary": (pa.array([b"x", b"y"]), ["x", "y"]),
    "view": (pa.array(["x", "y"], pa.string_view()), ["x", "y"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_text_column(tmp_path, kind):
    parquet.write_table(pa.table({"text": KINDS[kind]}), tmp_path / "a.parquet")
    with Reader(str(tmp_path / "a.parquet"), "parquet") as reader:
        assert [text for batch in reader for text in batch.texts] == ["a", "b"]


@pytest.mark.parametrize("kind", LABELS)
def test_every_kind_of_label_column(tmp_path, kind):
    values, expected = LABELS[kind]
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": ["a", "b"], "label": values}), file)
    from sentiment.data.sources import labelled_chunks

    (chunk,) = labelled_chunks(str(file), text_column="text", label_column="label")
    assert chunk["label"].to_list() == expected


@pytest.mark.parametrize(
    "value", [pa.array([["a", "c"], ["b", "d"]]), pa.array([{"a": 1}, {"a": 2}])]
)
def test_several_values_are_no_label(tmp_path, value):
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"text": ["a", "b"], "label": value}), file)
    with pytest.raises(DataError, match="row 1: a label is"):
        load_splits(source="files", name="x", train=str(file))


def test_one_rule_for_labels():
    nan = float("nan")
    for value, label in (
        (1, "1"), (1.0, "1"), ("1.0", "1"), (" 1 ", "1"), (True, "true"), (False, "false"), (0.5, "0.5"),
        (nan, None), (None, None), ("", None), ("  ", None), ("no", "no"), ("NaN", "NaN"),
    ):  # fmt: skip
        assert label_of(value) == label
    assert named_labels({0: "bad", 2.0: "good", "no": "no"}) == {
        "0": "bad",
        "2": "good",
        "no": "no",
    }
    names = named_labels({False: "bad", True: "good"})
    assert names is not None
    assert (names["false"], names["true"], names["TRUE"]) == ("bad", "good", "good")
    assert named_labels([False, True]) == {"0": "false", "1": "true"}
    assert named_labels(["a", "b"]) == {"0": "a", "1": "b"}


def test_missing_labels_are_counted_and_half_emoji_trained(tmp_path):
    file = tmp_path / "a.jsonl"
    labels = ["1", "0", "NaN", "null"]
    lines = [f'{{"text": "half \\ud83d emoji {i}", "label": {labels[i % 4]}}}' for i in range(80)]
    file.write_text("\n".join(lines))
    splits = load_splits(source="files", name="x", train=str(file))
    assert splits.classes == ("0", "1")
    assert splits.report["missing_labels_train"] == 40
    assert all("half \ufffd emoji" in text for text in splits.train.texts)


def test_text_and_label_cannot_be_one_column(tmp_path):
    with pytest.raises(UsageError, match="would read the answer"):
        load_splits(source="files", name="x", train="a.csv", text_column="a", label_column="a")


def test_classes_without_a_test_row_are_told(tmp_path, caplog):
    file = tmp_path / "a.csv"
    many = [f"text {i},{'a' if i % 2 else 'A'}" for i in range(100)]
    file.write_text("\n".join(["text,label", *many, "one,rare", "two,rare"]))
    load_splits(source="files", name="x", train=str(file))
    assert "have no test row" in caplog.text
    assert "differ only in case" in caplog.text
