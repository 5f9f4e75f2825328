"""``sentiment init``: the columns of strangers' files are found, and the first command works."""

from __future__ import annotations

import csv
import gzip
import json
import shlex

import polars as pl
import pytest
import yaml

from sentiment import config
from sentiment.data.detection import detect
from sentiment.errors import DataError

pytestmark = pytest.mark.slow

SAID = {"praise": "great fun, a joy", "complaint": "awful mess, so dull"}
ROWS = [
    {"id": number, "Kind": kind, "body": f"{SAID[kind]}; customer {number} of us", "agent": "abc"[number % 3]}
    for number, kind in enumerate(["praise", "complaint"] * 60)
]  # fmt: skip


def write(path, rows=ROWS):
    if path.suffix == ".parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), "utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    else:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "wt", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.json", "a.jsonl"])
def test_columns_are_found_in_every_format(name, tmp_path):
    found = detect(write(tmp_path / name))
    assert (found.text, found.label) == ("body", "Kind")
    assert found.labels == {"praise": 60, "complaint": 60}
    assert [column.name for column in found.columns] == ["id", "Kind", "body", "agent"]


def test_what_is_unclear_is_asked_for(tmp_path):
    file = write(
        tmp_path / "a.csv", [{"a": f"number {n} of many words here", "b": n} for n in range(90)]
    )
    with pytest.raises(DataError, match="no column looks like labels"):
        detect(file)
    with pytest.raises(DataError, match="did you mean 'body'"):
        detect(write(tmp_path / "b.csv"), text="bodi")
    # Another column than the likeliest, when the user says so.
    assert detect(write(tmp_path / "c.csv"), label="agent").labels.keys() == set("abc")


def test_the_first_commands_work(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "tickets 1.csv")
    answer = cli("init", "--data", "tickets 1.csv")
    assert answer.code == 0, answer.err
    assert "Kind" in answer.err
    commands = [shlex.split(line)[1:] for line in answer.out.splitlines()]
    for words in commands[:2]:
        told = cli(*words)
        assert told.code == 0, told.err
    assert cli("predict", "a joy").out.startswith("praise")
    cfg = config.compose(["--config-dir", "conf", "experiment=first"])
    assert (cfg.data.train, cfg.data.label_column, cfg.run_name) == (
        "tickets 1.csv",
        "Kind",
        "first",
    )
    # What the user has changed is not written over.
    (tmp_path / "conf/config.yaml").write_text("mine", "utf-8")
    again = cli("init", "--data", "tickets 1.csv")
    assert again.code == 2
    assert "nothing was changed" in again.err
    assert (tmp_path / "conf/config.yaml").read_text("utf-8") == "mine"


def test_without_data_it_trains_on_the_reviews(tmp_path, cli):
    answer = cli("init", tmp_path / "new", "--json")
    assert answer.document["detected"] is None
    assert answer.document["files"][0] == "conf/config.yaml"
    cfg = config.compose(["--config-dir", str(tmp_path / "new/conf")])
    assert cfg.data.name == "reviews"
    # An editor finds the schema beside the file that names it.
    for file in (tmp_path / "new/conf").rglob("*.yaml"):
        named = next(line for line in file.read_text("utf-8").splitlines() if "$schema=" in line)
        assert (file.parent / named.partition("$schema=")[2]).is_file()
        assert yaml.safe_load(file.read_text("utf-8"))
