"""What came from data is shown as it is, in every command."""

from __future__ import annotations

import pytest

LABELS = ["[red]", "[/bold]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from support.commands import run_cli

    here = tmp_path_factory.mktemp("markup")
    file = here / "[bold]data.csv"
    words = {LABELS[0]: "joy [i]fun[/i]", LABELS[1]: "pain [dim]dull[/dim]"}
    rows = [f"film {i} {words[label]},{label}" for i in range(60) for label in LABELS]
    file.write_text("text,label\n" + "\n".join(rows) + "\n")
    overrides = ["data=files", f"data.train='{file}'", "vectorizer.min_df=1"]
    answer = run_cli("train", *overrides, f"output_dir={here}/out")
    assert answer.code == 0, answer.err
    return here, file, overrides


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "film [red]joy[/red] [x]"],
        ["explain", "film [red]joy[/red] [x] fun"],
        ["monitor", "--input", "FILE"],
        ["models", "list"],
        ["cache", "show"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_brackets_stay_brackets(trained, cli, words):
    here, file, _ = trained
    words = [str(file) if word == "FILE" else word for word in words]
    answer = cli(*words, "--output-dir", here / "out")
    assert answer.code == 0, answer.err
    if words[0] in ("predict", "explain", "monitor"):
        assert any(label in answer.out for label in LABELS)


def test_the_description_of_data_shows_labels(trained, cli):
    answer = cli("data", *trained[2])
    assert answer.code == 0, answer.err
    assert all(label in answer.out for label in LABELS)
    assert "[bold]data.csv" in answer.out


@pytest.mark.parametrize("columns", ["0", ""])
def test_a_width_of_nothing_hides_nothing(columns, cli, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.chdir(tmp_path)
    rows = "".join(f"text {n} of film,{'good' if n % 2 else 'bad'}\n" for n in range(40))
    (tmp_path / "a.csv").write_text("text,label\n" + rows)
    assert "median characters" in cli("data", "a.csv").out
