"""Files as other programs leave them: packed, in folders, nested, with comments; or told what they are."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiment.data.detection import detect
from sentiment.data.labels import label_of
from sentiment.data.sources import labelled_chunks
from sentiment.data.splits import load_splits
from sentiment.errors import DataError, UsageError
from sentiment.files import write_whole
from sentiment.records.dialect import Dialect
from sentiment.records.encoding import likely_encoding, wide_encoding
from sentiment.records.rows import open_rows

TABLE = "text,label\ngood film,pos\nbad film,neg\n"


def read(path, **options):
    (chunk,) = labelled_chunks(
        str(path), **{"text_column": "text", "label_column": "label", **options}
    )
    return chunk["text"].to_list(), chunk["label"].to_list()


EXPECTED = (["good film", "bad film"], ["pos", "neg"])


def test_xz_and_a_zip_with_one_table_are_read(tmp_path):
    (tmp_path / "a.csv.xz").write_bytes(lzma.compress(TABLE.encode()))
    for name in ("archive.zip", "a.csv.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("__MACOSX/._reviews.csv", "x")
            archive.writestr("data/reviews.csv", TABLE)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("readme.txt", "Reviews of films.")
        archive.writestr("a.csv.gz", gzip.compress(TABLE.encode()))
    for name in ("a.csv.xz", "archive.zip", "a.csv.zip", "b.zip"):
        assert read(tmp_path / name) == EXPECTED


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train.csv", "test.csv"], "holds 2 files of rows (train.csv, test.csv): unpack it"),
        (["a.txt", "b.txt"], "holds 2 files of rows (a.txt, b.txt): unpack it"),
        (["readme"], "holds no file of rows (readme): unpack it"),
    ],
)
def test_a_zip_of_several_tables_says_which(tmp_path, names, said):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.writestr(name, TABLE)
    with pytest.raises(DataError) as error:
        read(tmp_path / "a.zip")
    assert said in str(error.value)
    (tmp_path / "b.csv").write_text(TABLE)
    with open_rows(str(tmp_path)) as reader:  # and a folder goes on without it
        assert len(reader.files) == 1


def test_a_damaged_archive_is_one_line(tmp_path):
    whole = lzma.compress(TABLE.encode() * 1000)
    (tmp_path / "a.csv.xz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a.csv.zip").write_bytes(b"PK\x03\x04 nothing")
    for name in ("a.csv.xz", "a.csv.zip"):
        with pytest.raises(DataError, match="cannot be"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", gzip.compress(b"x"), "packed by gzip: its name must end with .gz"),
        ("a.csv", bz2.compress(b"x", 9), "packed by bzip2: its name must end with .bz2"),
        ("a.csv", bz2.compress(b"x", 1), "packed by bzip2: its name must end with .bz2"),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old spreadsheet"),
        ("a.xlsx", b"PK", "is a spreadsheet: save the sheet as CSV"),
        ("a.feather", b"", "is Arrow's format: write Parquet"),
        ("a.pkl", b"", "is a pickle, which can run code"),
        ("a.tar.gz", b"", "is an archive: unpack it"),
        ("a.txt", b"just lines\nof text\n", "plain lines have no labels"),
        ("a.csv", b"text^label\na^b\n", "Give delimiter='^'"),
        ("a.csv", b"text\x01label\na\x01b\n", "Give delimiter='ctrl-a'"),
        ("a.csv", b"I loved this film a lot,pos\n", "put a header above it"),
        ("a.csv", TABLE.encode("utf-32-be"), "not UTF-8 but utf-32-be"),
    ],
)  # fmt: skip
def test_what_a_file_is_and_what_to_do_is_told(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, UsageError)) as error:
        read(tmp_path / name)
    assert said in str(error.value)


def test_wide_encodings_without_a_mark_are_told_apart():
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        assert wide_encoding("text,label\nfilm,1".encode(encoding)) == encoding
    assert wide_encoding(b"text,label\nfilm,1") is None


def test_comments_above_the_header_are_passed_over(tmp_path):
    (tmp_path / "a.csv").write_text(f"# exported 2026-01-01, by us\n\n#\n{TABLE}")
    assert read(tmp_path / "a.csv") == EXPECTED
    (tmp_path / "b.csv").write_text("#id,text;x,label\n1,good film,pos\n2,bad film,neg\n")
    assert read(tmp_path / "b.csv", text_column="text;x") == EXPECTED
    with pytest.raises(DataError, match="there are: #id, text;x, label"):
        read(tmp_path / "b.csv")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "^"])
@pytest.mark.parametrize("comment", ["# exported", "# one, text", "#\ttext", "# text;label", "#"])
def test_a_comment_is_no_header_whatever_it_holds(tmp_path, comment, delimiter):
    path = tmp_path / "a.csv"
    path.write_text(f"{comment}\n{TABLE.replace(',', delimiter)}")
    assert read(path, dialect=Dialect(delimiter)) == EXPECTED
    if delimiter != "^":
        assert read(path) == EXPECTED
        found = detect(str(path))
        assert (found.text, found.label, found.n_rows) == ("text", "label", 2)


def test_a_delimiter_that_is_not_the_files_is_told_below_comments_too(tmp_path):
    (tmp_path / "a.csv").write_text(f"# exported\n{TABLE}")
    with pytest.raises(DataError, match=r"is 'text,label' several\? Give delimiter='comma'"):
        read(tmp_path / "a.csv", dialect=Dialect(";"))


@pytest.mark.parametrize("header", ["#id,text,label", "# note\n# id,text,label"])
def test_the_sign_of_a_comment_may_begin_the_header(tmp_path, header):
    (tmp_path / "a.csv").write_text(f"{header}\n1,good film,pos\n2,bad film,neg\n")
    found = detect(str(tmp_path / "a.csv"))
    assert (found.text, found.label, found.n_rows) == ("text", "label", 2)


@pytest.mark.parametrize("first", [{"id": 1, "text": None}, {"id": 1, "text": None, "x": {}}])
def test_the_texts_of_rows_are_found_below_one_that_has_none(tmp_path, first):
    rows = [{"id": n, "text": f"text {n} of words", "label": n % 2} for n in range(30)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, [{**first, "label": 1}, *rows])))
    assert detect(str(tmp_path / "a.jsonl")).text == "text"
    (tmp_path / "b.jsonl").write_text(json.dumps({"id": 1, "text": None}))
    with pytest.raises(DataError, match="its first rows hold no text"):
        detect(str(tmp_path / "b.jsonl"))


def test_objects_inside_have_names_with_dots(tmp_path, cli):
    rows = [
        {"review": {"text": text, "by": None}, "meta": {"label": label}}
        for text, label in zip(*EXPECTED, strict=True)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read(tmp_path / "a.jsonl", text_column="review.text", label_column="meta.label") == (
        EXPECTED
    )
    with open_rows(str(tmp_path / "a.jsonl"), text_column="review.text") as reader:
        (batch,) = reader
        assert batch.texts == EXPECTED[0]
        assert batch.records() == rows  # what is written out is as it came
    with pytest.raises(DataError, match=r"there are: review, meta, review\.text"):
        read(tmp_path / "a.jsonl")


def test_structures_of_parquet_have_names_with_dots(tmp_path):
    path = tmp_path / "a.parquet"
    rows = [
        {"doc": {"body": text, "of": {"kind": label}}, "n.x": n, "n": {"x": "inside"}}
        for n, (text, label) in enumerate(zip(*EXPECTED, strict=True))
    ]
    rows.append({"doc": None, "n.x": 2, "n": None})
    pq.write_table(pa.Table.from_pylist(rows), path)
    names = {"text_column": "doc.body", "label_column": "doc.of.kind"}
    assert read(path, **names) == tuple([*values, None] for values in EXPECTED)
    assert read(path, text_column="Doc.Body", label_column="n.x")[1] == ["0", "1", "2"]
    with open_rows(str(path), text_column="doc.body", batch_size=2) as reader:
        batches = list(reader)
    assert [text for batch in batches for text in batch.texts] == [*EXPECTED[0], None]
    assert [row for batch in batches for row in batch.records()] == rows
    assert batches[0].skip(1).records() == rows[1:2]
    with pytest.raises(DataError, match=r"there are: doc, n\.x, n, doc\.body, doc\.of"):
        read(path)
    with pytest.raises(DataError, match=r"'doc\.of' is not text but struct"):
        read(path, text_column="doc.of")


def test_a_list_of_one_is_its_label():
    assert (label_of(["a"]), label_of([]), label_of((1,))) == ("a", None, "1")
    with pytest.raises(DataError, match="give one value"):
        label_of(["a", "b"])


@pytest.fixture
def folders(tmp_path):
    for name in ("pos", "neg"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(40):
            text = f"{name} film {number}\nwith two lines\n"
            (tmp_path / "train" / name / f"{number}_1.txt").write_text(text)
    (tmp_path / "train/urls_pos.txt").write_text("http://x\n")
    (tmp_path / "train/labeledBow.feat").write_text("9 0:9\n")
    return tmp_path


def test_folders_of_texts_are_classes(folders):
    texts, labels = read(folders / "train")
    assert len(texts) == 80
    assert set(zip((text.split()[0] for text in texts), labels, strict=True)) == {
        ("pos", "pos"), ("neg", "neg"),
    }  # fmt: skip
    assert texts[0].endswith("with two lines")
    splits = load_splits(source="files", name="x", train=f"{folders}/train/[np]*")
    assert splits.classes == ("neg", "pos")


def test_what_lies_otherwise_is_lines(folders):
    with open_rows(f"{folders}/train/pos") as reader:
        assert sum(len(batch) for batch in reader) == 80
    assert len(read(folders)[0]) == 80  # the only folder of class folders
    (folders / "test/pos").mkdir(parents=True)
    (folders / "test/pos/1.txt").write_text("one of another part")
    with pytest.raises(DataError, match="plain lines have no labels"):
        read(folders)  # parts, not classes
    (folders / "train/pos/0_1.txt").write_bytes("ä".encode("latin-1"))
    with pytest.raises(DataError, match=r"0_1\.txt: not UTF-8"):
        read(folders / "train")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["pos", "\u200fpos"], "signs that are not seen"),
        (["\u2764", "\u2764\ufe0f"], "signs that are not seen"),
        (["a|b", "a"], "look like several in one"),
        (["a, b", "b, c"], "look like several in one"),
        (["yes, of course", "no, never"], ""),
    ],
)
def test_labels_that_may_be_meant_otherwise_are_told(tmp_path, caplog, labels, said):
    rows = [json.dumps({"text": f"text {n}", "label": labels[n % 2]}) for n in range(80)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    load_splits(source="files", name="x", train=str(tmp_path / "a.jsonl"))
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "--input", "a.csv", "--output", "o.xlsx"], "must end in .csv, .tsv"),
        (["evaluate", "--input", "a.csv", "--output", "o.csv.gz"], "must end in .csv, .tsv"),
        (["evaluate", "--input", "a.csv", "--output", "."], "is a folder; give a file"),
        (["evaluate", "--input", "a.csv", "--report", "."], "is a folder; give a file"),
        (["data", "a.csv", "--report", "none/r.html"], "no such folder none"),
        (["data", "a.csv", "--doubles", "."], "is a folder; give a file"),
        (["feedback", "export", "--output", "f.xlsx"], "must end in .csv, .tsv"),
        (["predict", "--input", "a.csv", "--output", "o.xlsx"], "does not tell the format"),
        (["predict", "--input", "a.xlsx", "--output", "o.csv"], "is a spreadsheet"),
        (["init", "p", "--data", "bare.csv"], "put a header above it"),
    ],
)
def test_what_cannot_be_written_or_read_is_told_before_the_work(
    tmp_path, cli, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(TABLE)
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    (tmp_path / "bare.csv").write_text("a good film,pos\na bad film,neg\n" * 9)
    before = sorted(tmp_path.iterdir())
    answer = cli(*words)
    assert (answer.code, answer.out) == (2, ""), answer.err
    assert said in answer.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_project_is_begun_from_folders_and_from_nested_rows(folders, cli, monkeypatch):
    monkeypatch.chdir(folders)
    rows = [
        {"doc": {"body": f"text {n} of many words"}, "meta": {"kind": n % 2}} for n in range(40)
    ]
    (folders / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert cli("init", "one", "--data", "train").code == 0
    assert "label_column: label" in (folders / "one/conf/config.yaml").read_text()
    assert cli("init", "two", "--data", "a.jsonl").code == 0
    written = (folders / "two/conf/config.yaml").read_text()
    assert "text_column: doc.body" in written
    assert "label_column: meta.kind" in written
    pq.write_table(pa.Table.from_pylist(rows), folders / "a.parquet")
    assert cli("init", "three", "--data", "a.parquet").code == 0
    assert (folders / "three/conf/config.yaml").read_text() == written.replace("jsonl", "parquet")


@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        ("Ein wunderschöner Film, großartig, für Jung und Alt", "cp1252 cp850 mac-roman"),
        ("Très bon film, à voir, ça m'a beaucoup plu, même la fin", "cp1252 cp850 mac-roman"),
        ("Una película muy buena, ¡qué emoción!, señores, mañana otra vez", "cp1252 cp850"),
        ("Filmen var jättebra, på många sätt, övertygande", "cp1252 cp850"),
        ("Świetny film, bardzo mi się podobał, żadnych zastrzeżeń", "cp1250 iso8859-2 cp852"),
        ("Skvělý film, moc se mi líbil, příjemný večer", "cp1250 cp852"),
        ("Nagyon jó film volt, őszintén szólva tetszett, köszönöm", "cp1250 cp852"),
        ("Çok güzel bir film, oyunculuk şahane, ışıklar hoş", "cp1254 cp857"),
        ("Labai geras filmas, žiūrėkite būtinai šį vakarą, aktoriai puikūs", "cp1257"),
        ("Отличный фильм, мне очень понравилось", "cp1251 koi8-r cp866 iso8859-5"),
        ("ФИЛЬМ УЖАСНЫЙ, НЕ СМОТРИТЕ", "cp1251 koi8-r cp866"),
        ("Чудовий фільм, дуже сподобалося, їжа й ґанок", "koi8-u"),
        ("Πολύ καλή ταινία, μου άρεσε πάρα πολύ", "cp1253 cp737"),
        ("הסרט היה משעמם ולא מצחיק בכלל, חבל על הזמן", "cp1255 cp862"),
        ("فيلم رائع جدا، أحببت التمثيل والقصة", "cp1256 iso8859-6"),
        ("หนังสนุกมาก ชอบนักแสดง", "cp874"),
        ("とても面白い映画でした。俳優の演技も素晴らしいです。", "shift_jis euc_jp"),
        ("这部电影太好看了，我非常喜欢，演员的表演也很到位。", "gb18030"),
        ("難看死了，浪費時間", "big5"),
        ("정말 재미있는 영화였어요. 배우들의 연기도 훌륭했습니다.", "euc_kr"),
        ("Phim râ\u0301t hay, tôi thi\u0301ch diê\u0303n viên na\u0300y, ca\u0309m ơn", "cp1258"),
    ],
)  # fmt: skip
def test_the_encoding_that_is_advised_is_the_right_one(text, encodings):
    for encoding in encodings.split():
        raw = f'"{text}",1\n'.encode(encoding)
        assert raw.decode(likely_encoding(raw)) == raw.decode(encoding), encoding


ESCAPED = (
    'text,label\n"said \\"no\\", twice",neg\nplain,pos\n"ends with \\\\",neg\n'
    '"C:\\new, of two\nlines",pos\n'
)


def test_quotes_behind_backslashes_are_read_as_spark_writes_them(tmp_path):
    (tmp_path / "a.csv").write_text(ESCAPED)
    notes: dict[str, str] = {}
    found = read(tmp_path / "a.csv", notes=notes)
    assert found == (
        ['said "no", twice', "plain", "ends with \\", "C:\\new, of two\nlines"],
        ["neg", "pos", "neg", "pos"],
    )
    assert notes == {"quote": '\\"'}
    # A backslash at the end of a cell escapes nothing where quotes are doubled.
    (tmp_path / "b.csv").write_text('text,label\n"a\\",pos\n"b ""c"", d\\",neg\n')
    assert read(tmp_path / "b.csv") == (["a\\", 'b "c", d\\'], ["pos", "neg"])


def test_blanks_before_quotes_are_none_of_the_cells(tmp_path):
    (tmp_path / "a.csv").write_text('"text", "label"\n"good, film", "pos"\n"bad film", "neg"\n')
    assert read(tmp_path / "a.csv") == (["good, film", "bad film"], ["pos", "neg"])


def test_lines_that_end_with_returns_may_hold_line_feeds_in_cells(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'text,label\r"good\nfilm",pos\rbad film,neg\r')
    assert read(tmp_path / "a.csv") == (["good\nfilm", "bad film"], ["pos", "neg"])
    (tmp_path / "b.csv").write_bytes(b"text,label\ngood film,pos\rbad film,neg\n")
    with pytest.raises(DataError, match="a carriage return stands outside quotes"):
        read(tmp_path / "b.csv")
    (tmp_path / "c.txt").write_bytes(b"10 %\r20 %\r\ndone\n")  # lines of text keep them
    with open_rows(str(tmp_path / "c.txt")) as reader:
        assert [text for batch in reader for text in batch.texts] == ["10 %\r20 %", "done"]


def test_a_header_that_is_data_is_told_where_it_repeats_itself(tmp_path):
    (tmp_path / "a.csv").write_text("0,0,Mon,this is a long text of a tweet\n" * 3)
    with pytest.raises(DataError, match="put a header above it"):
        read(tmp_path / "a.csv")


def test_objects_one_behind_another_need_no_lines(tmp_path):
    rows = [json.dumps({"text": t, "label": n}) for t, n in zip(*EXPECTED, strict=True)]
    (tmp_path / "a.json").write_text("".join(rows))
    assert read(tmp_path / "a.json") == EXPECTED


def test_labels_of_fasttext_end_at_any_blank(tmp_path):
    (tmp_path / "a.txt").write_text(
        "\n__label__pos\tgood film\n__label__neg  bad film\n__label__x\n"
    )
    assert read(tmp_path / "a.txt") == (
        ["", "good film", "bad film", ""],
        [None, "pos", "neg", "x"],
    )


def test_annotations_are_read_inside_lists(tmp_path):
    rows = [
        {"data": {"text": text}, "annotations": [{"result": [{"value": {"choices": [label]}}]}]}
        for text, label in zip(*EXPECTED, strict=True)
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    names = {"text_column": "data.text", "label_column": "annotations.result.value.choices"}
    assert read(tmp_path / "a.json", **names) == EXPECTED
    rows[0]["annotations"] *= 2
    (tmp_path / "a.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="row 1: a label is list .* give one value for each row"):
        read(tmp_path / "a.json", **names)


def test_what_is_no_file_is_told_and_never_replaced(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("a.csv")
    answer = cli("data", "a.csv")
    assert (answer.code, "is a pipe, which is read once" in answer.err) == (2, True)
    Path("b.csv").symlink_to("nowhere.csv")
    answer = cli("data", "b.csv")
    assert "b.csv is a link to nowhere.csv, which is not there" in answer.err
    assert "no such file: ~nobody-here.csv" in cli("data", "~nobody-here.csv").err
    Path("link.html").symlink_to("page.html")
    for place in (Path("link.html"), Path("a.csv")):
        reading = os.open(place, os.O_RDONLY | os.O_NONBLOCK) if place.is_fifo() else None
        write_whole(place, "a page")
        assert place.is_symlink() or place.is_fifo()
        if reading is not None:
            assert os.read(reading, 99) == b"a page"
            os.close(reading)
    assert Path("page.html").read_text() == "a page"


def test_files_are_found_by_names_that_look_like_overrides_and_folders_without_a_slash(
    tmp_path, cli, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"text {n} of film,{'pos' if n % 2 else 'neg'}\n" for n in range(40))
    Path("parts").mkdir()
    for place in ("a=b.csv", "parts/1.csv"):
        Path(place).write_text("text,label\n" + rows)
    for word in ("a=b.csv", "parts"):
        answer = cli("data", word, "--json")
        assert json.loads(answer.out)["train"]["rows"] > 10, answer.err


@pytest.mark.parametrize("encoding", ["rot13", "base64", "undefined", "a\0b", "klingon"])
def test_what_encodes_no_text_is_no_encoding(encoding):
    with pytest.raises(UsageError, match="no such encoding"):
        Dialect(encoding=encoding).checked()


def test_a_confidence_that_is_no_number_is_refused(cli):
    answer = cli("predict", "--min-confidence", "nan", "a text")
    assert (answer.code, "give a number from 0 to 1" in answer.err) == (2, True)
