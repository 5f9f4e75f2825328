"""Words of the command line mean what people mean by them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sentiment import config
from sentiment.errors import UsageError
from sentiment.words import in_quotes, is_table, sort_words, text_keys

NAMES = [
    "reviews (1).csv", "a=b.csv", "été.csv", "50%.csv", "x,y.csv", "it's.csv", "テスト.csv",
    "back\\slash.csv", "[x].csv", "{y}.csv", 'say "hi".csv', "a:b.csv", "#1.csv", "12e4567.csv",
    "-.csv", "~.csv", "end\\", "a\\'b", "$x.csv",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_free_text_is_taken_as_it_is(name):
    keys = ("data.train", "run_name", "experiment_name", "data.text_column")
    cfg = config.compose(["data=files", *[f"{key}={name}" for key in keys]])
    assert [OmegaConf.select(cfg, key) for key in keys] == [name] * len(keys)


@pytest.mark.parametrize("value", ["12e4567", "1e5", "007", "true", "on", "inf", "1_000", "0x10"])
def test_what_looks_like_a_number_stays_text(value):
    assert config.compose([f"run_name={value}"]).run_name == value


def test_null_quotes_and_interpolations_keep_their_meaning():
    assert config.compose(["run_name=null"]).run_name is None
    assert config.compose(["run_name='null'"]).run_name == "null"
    assert config.compose(['run_name="a b"']).run_name == "a b"
    assert config.compose(["run_name=${experiment_name}-x"]).run_name == "sentiment-x"
    assert (
        sort_words(["-m", "data.train=a.csv,b.csv"], config.Config)
        .overrides[-1]
        .endswith("a.csv,b.csv")
    )


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert config.compose(["output_dir=~/out"]).output_dir == "/somewhere/out"


def test_the_schema_tells_which_keys_are_text():
    keys = text_keys(config.Config)
    assert {"run_name", "data.train", "tracking.uri", "output_dir", "data.label_column"} <= keys
    assert not {"seed", "data.val_size", "data.label_names"} & keys


def test_a_file_needs_no_group(tmp_path, cli):
    file = tmp_path / "my reviews.csv"
    rows = [
        f"film {i} {word},{label}"
        for i in range(30)
        for word, label in (("joy", "up"), ("pain", "down"))
    ]
    file.write_text("Body,kind\n" + "\n".join(rows) + "\n")
    assert config.compose([f"data.train={file}"]).data.source == "files"
    out = tmp_path / "out"
    answer = cli(
        "train",
        file,
        "--text",
        "body",
        "--label",
        "kind",
        "vectorizer.min_df=1",
        f"output_dir={out}",
    )
    assert answer.code == 0, answer.err
    assert shlex.join([f"data.train={file}", "data.text_column=body"]) in answer.err
    assert is_table("a.csv.gz")
    assert not is_table("data.train=a.csv")
    answer = cli("train", file, file)
    assert answer.code == 2


@pytest.mark.slow
def test_a_file_that_holds_no_rows_is_told(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.xlsx").write_bytes(b"PK")
    answer = cli("data", "a.xlsx")
    assert answer.code == 2
    assert (
        "a.xlsx: its name does not tell that it holds rows; call it by what it is, or convert it"
        in answer.err
    )


def test_a_printed_config_trains_and_sweeps(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["experiment=quick", "data.sample_size=300", f"output_dir={tmp_path}/out"]
    (tmp_path / "my.yaml").write_text(cli("config", *words).out)
    own = ["--config-dir", ".", "--config-name", "my"]
    assert cli("train", "model.C=0.5", *own).code == 0
    planned = cli("sweep", *own, "--dry-run", "model.C=0.1,1", "--json")
    assert planned.document["state"] == "planned"
    assert len(planned.document["jobs"]) == 2
    assert "data.sample_size=300" in cli("config", *own, "--keys").out
    assert cli("data", *own, "--json").document["train"]["rows"] == 210
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my.yaml", "out"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run_name=${oc.env:NOPE}"], "NOPE"),
        (["model@foo=logreg"], "write model=OPTION"),
        (["data.label_names={a b:c"], "as one text"),
        (["--config-dir", "/not/there"], "/not/there: no such folder"),
        (["--config-name"], "--config-name/-cn: expected one argument"),
        (["experiment_name=''"], "experiment_name is empty"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, cli, words, message):
    answer = cli(
        "train", "experiment=quick", "data.sample_size=300", f"output_dir={tmp_path}", *words
    )
    assert answer.code == 2, answer.err
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error")]
    assert message in line
    if "as one text" in message:
        (word,) = shlex.split(line.split("as one text: ")[1])
        assert word == "data.label_names='{a b:c'"


def test_options_may_follow_hydras_flags(tmp_path, cli):
    answer = cli("sweep", "model.C=1,2", "-m", "--jobs", "2", "--dry-run", f"output_dir={tmp_path}")
    assert answer.code == 0, answer.err
    answer = cli("sweep", "model.C=1,2", "hydra/sweeper=basic", "--dry-run")
    assert answer.code == 2
    assert "Hydra's own" in answer.err


def test_an_empty_variable_is_the_default(monkeypatch):
    monkeypatch.setenv("SENTIMENT_OUTPUT_DIR", "")
    assert config.compose().output_dir == "outputs"


def test_quotes_are_hydras():
    assert in_quotes("plain/path.csv") == "plain/path.csv"
    assert in_quotes("null") == "'null'"
    with pytest.raises(UsageError):
        sort_words(["--config-dir"], config.Config)


@pytest.mark.parametrize("command", ["data", "config"])
def test_other_commands_take_a_file_too(tmp_path, cli, command):
    file = tmp_path / "mine.csv"
    file.write_text("body;kind\n" + "\n".join(f"film {i};{'ab'[i % 2]}" for i in range(60)))
    answer = cli(command, file, "--text", "body", "--label", "kind", "--json")
    assert answer.code == 0, answer.err
    assert f"sentiment {command} data=files data.train={file}" in answer.err
    if command == "data":
        assert answer.document["notes"] == {"delimiter": ";"}


@pytest.mark.slow
def test_many_classes_fit_a_screen(tmp_path, cli):
    file = tmp_path / "many.jsonl"
    rows = [
        json.dumps({"text": f"word{i % 60} film {i}", "label": f"class {i % 60}"})
        for i in range(1200)
    ]
    file.write_text("\n".join(rows))
    words = ["vectorizer.min_df=1", f"output_dir={tmp_path}/out"]
    answer = cli("train", file, "model=naive_bayes", *words)
    assert answer.code == 0, answer.err
    assert answer.out.count("f1_score_") == 10
    assert "of 60 classes, the 10 with the lowest F1" in answer.err
    answer = cli("evaluate", "--input", file, "--output-dir", tmp_path / "out")
    assert sum(line.startswith("│ class ") for line in answer.out.splitlines()) == 10
    assert "of 60 classes, the 10 with the lowest F1" in answer.err
    answer = cli("data", file)
    assert "40 smaller classes are left out" in answer.out
    assert len(answer.out.splitlines()) < 80


def test_a_config_of_one_s_own_is_found_where_one_stands(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = cli("config", "model=logreg", "data=rotten_tomatoes", "model.C=7")
    for name in ("my.yaml", "conf/v1.2.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(printed.out)
    for name in ("my", "my.yaml", "conf/v1.2", str(tmp_path / "my.yaml")):
        assert "C: 7" in cli("config", "--config-name", name).out
    dry = cli("sweep", "--config-name", "my", "--dry-run", "model.C=1,2", "--json")
    assert len(dry.document["jobs"]) == 2, dry.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf", "my.yaml"]
    answer = cli("train", "--config-name", "mine")
    assert (answer.code, answer.out) == (2, "")
    assert "unknown config 'mine': there is no file mine.yaml here" in answer.err


OWN = """\
# @package _global_
data:
  train: x.csv
  label_column: on
  label_names: [no, yes]
  positive_label: no
  slice_columns: [off]
decision:
  thresholds: {no: .5, yes: 0.6}
  costs: {off: {012: 2}}
model:
  class_weight: {no: 2, 1:30: 1, 2: 3, true: 4}
tracking:
  tags: {quiet: on}
run_name: 012e3
curve: on
"""


def test_bare_words_of_yaml_are_labels_and_texts_where_such_are_meant(tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/data").mkdir()
    (tmp_path / "conf/experiment/own.yaml").write_text(OWN)
    (tmp_path / "conf/data/own.yaml").write_text(
        "defaults: [files]\ntrain: x.csv\nlabel_names: {no: off, 1: on}\n"
    )
    words = ("--config-dir", "conf", "data=files", "experiment=own")
    (tmp_path / "my.yaml").write_text(cli("config", *words).out)
    for given in (words, ("--config-name", "my")):
        cfg = config.compose(given)
        assert (cfg.data.label_column, cfg.data.positive_label, cfg.run_name) == (
            "on",
            "no",
            "012e3",
        )
        assert (cfg.data.label_names, cfg.data.slice_columns) == (["no", "yes"], ["off"])
        assert cfg.decision.thresholds == {"no": 0.5, "yes": 0.6}
        assert cfg.decision.costs["off"] == {"012": 2}
        weights = {"no": 2, "1:30": 1, 2: 3, True: 4}
        assert {key: cfg.model.class_weight[key] for key in weights} == weights
        assert cfg.tracking.tags == {"quiet": "on"}
        assert cfg.curve is True
    own = config.compose(["--config-dir", "conf", "data=own"]).data.label_names
    assert own == {"no": "off", 1: "on"}


def test_data_of_no_and_yes_are_named_from_a_file_and_from_the_command_line(
    tmp_path, cli, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = [f"text {n},{('no', 'yes')[n % 2]}" for n in range(80)]
    Path("x.csv").write_text("\n".join(["text,label", *rows]))
    Path("own.yaml").write_text(cli("config", "data=files", "data.train=x.csv").out)
    names = "label_names: {no: bad, yes: good}"
    Path("own.yaml").write_text(Path("own.yaml").read_text().replace("label_names: null", names))
    for words in (
        ("--config-name", "own"),
        ("data=files", "data.train=x.csv", "data.label_names={no: bad, yes: good}"),
    ):
        assert list(cli("data", *words, "--json").document["train"]["labels"]) == ["bad", "good"]


@pytest.mark.parametrize("written", ["true,false", "True,False", "TRUE,FALSE"])
def test_true_and_false_name_booleans_however_they_are_written(written, tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = written.split(",")
    rows = [f"text {n},{both[n % 2]}" for n in range(80)]
    Path("x.csv").write_text("\n".join(["text,label", *rows]))
    words = ("data", "data=files", "data.train=x.csv", "data.label_names={true: good, false: bad}")
    labels = cli(*words, "--json").document["train"]["labels"]
    assert sorted(labels) == ["bad", "good"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "--input", "a.csv", "--output", "other.csv"], "is the input"),
        (["evaluate", "--input", "a.csv", "--report", "a.csv"], "must end in .html"),
        (["data", "a.csv", "--report", "a.csv"], "must end in .html"),
        (["data", "a.csv", "--doubles", "a.csv"], "is the input"),
        (["data", "data.train=[a.csv,b.csv]", "--labels", "--output", "b.csv"], "is the input"),
        (["monitor", "--input", "a.csv", "--html", "a.csv"], "must end in .html"),
        (["curve", "a.csv", "--report", "a.csv"], "must end in .html"),
        (["compare", "--report", "a.csv"], "must end in .html"),
    ],
)
def test_nothing_is_written_over_what_is_read(words, said, tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.csv", "b.csv"):
        Path(name).write_text("text,label\na fine film,good\na dull film,bad\n" * 20)
    Path("other.csv").symlink_to("a.csv")
    before = Path("a.csv").read_bytes()
    answer = cli(*words)
    assert (answer.code, said in answer.err) == (2, True), answer.err
    assert Path("a.csv").read_bytes() == before
