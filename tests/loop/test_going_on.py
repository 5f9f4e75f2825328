"""Going on from a model: its data and words, what is new beside them, and a stream's state."""

from __future__ import annotations

import json

import numpy as np
import pytest
from support.reviews import shuffled

from sentiment.data.corrections import Further, only_further, with_corrections
from sentiment.data.loading import load
from sentiment.data.stream import survey
from sentiment.errors import SentimentError
from sentiment.registry.origin import with_origin
from sentiment.store import read_pointer
from sentiment.training.start import STATE, write_state
from sentiment.vectorizers import HashingVectorizer


def write(path, rows, text="text", label="label"):
    path.write_text("".join(json.dumps({text: t, label: kind}) + "\n" for t, kind in rows))
    return path


@pytest.fixture
def made(tmp_path):
    """300 rows, of which the first 20 training rows are corrected elsewhere."""
    rows = [(f"film {i} was {('good', 'bad')[i % 2]}", ("up", "down")[i % 2]) for i in range(300)]
    file = write(tmp_path / "a.jsonl", rows)
    settings = {"source": "files", "name": "x", "train": str(file)}
    return settings, load(settings, 1).splits


def test_several_sources_count_by_their_weights_and_the_last_wins(made, tmp_path):
    settings, before = made
    text = before.train.texts[0]
    first = write(tmp_path / "f.jsonl", [(text, "down"), ("new", "up")])
    second = write(tmp_path / "s.jsonl", [(text, "up"), (before.test.texts[0], "up")])
    also = {"also": f"{first},{second}", "also_weights": [2, 0.5]}
    splits = load({**settings, **also}, 1).splits
    known = dict(
        zip(
            splits.train.texts,
            zip(splits.train.labels, splits.train.weights, strict=True),
            strict=True,
        )
    )
    assert known["new"] == ("up", 2.0)
    assert known[text] == ("up", 0.5)
    assert known[before.train.texts[1]][1] == 1.0
    assert splits.report["corrections"] == 2
    assert splits.report["corrections_held_out"] == 1
    assert splits.test == before.test


def test_further_rows_may_be_written_as_the_data_are_or_as_feedback(made, tmp_path):
    _, before = made
    own = write(tmp_path / "own.jsonl", [("new", "1")], "review", "stars")
    feedback = write(tmp_path / "feedback.jsonl", [("newer", "down")])
    where = Further(f"{own},{feedback}", None, "review", "stars", {"1": "up", "0": "down"})
    added, _ = where.read(before)
    assert dict(zip(added.texts, added.labels, strict=True)) == {"new": "up", "newer": "down"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"also_weights": [1, 2]}, r"one number, 0 or more, for each of data.also \(1:"),
        ({"also_weights": [-1]}, r"also_weights=\[-1\]"),
        ({"also_weights": [float("nan")]}, "also_weights"),
        ({"also_weights": [1], "also": None}, "names no file"),
        ({"also_weights": [1], "unlabelled": "rows"}, "labels that count alike"),
        ({"streaming": True, "sample_size": None}, "from=champion where"),
    ],
)
def test_what_cannot_be_is_one_line(made, tmp_path, more, reason):
    settings, _ = made
    also = write(tmp_path / "f.jsonl", [("new", "up")])
    with pytest.raises(SentimentError, match=reason):
        load({**settings, "also": str(also), **more}, 1)


def test_labels_of_another_model_are_refused(made, tmp_path):
    _, before = made
    also = write(tmp_path / "f.jsonl", [("new", "spam")])
    with pytest.raises(SentimentError, match="labels that the data lacks: spam"):
        with_corrections(before, Further(str(also)))


def test_a_stream_goes_on_with_what_is_new_alone_from_arrays(made, tmp_path):
    from sklearn.linear_model import SGDClassifier

    settings, _ = made
    stream = survey(
        name="x", train=settings["train"], test=None, text_column="text", label_column="label",
        label_names=None, positive_label=None, val_size=0.1, test_size=0.2, on_bad_rows="drop", seed=1,
    )  # fmt: skip
    also = write(tmp_path / "f.jsonl", [(f"film {i} is fine", "up") for i in range(30)])
    new = only_further(stream, Further(str(also), [3.0]))
    ((only,),) = [list(new.chunks())]
    assert len(only) == 30
    assert set(only.weights) == {3.0}
    assert new.splits.test == stream.splits.test
    assert len(np.unique(new.splits.train_hashes)) == stream.splits.report["rows_train"] + 30
    assert new.splits.train_fingerprint != stream.splits.train_fingerprint

    def classifier():
        return SGDClassifier(loss="log_loss", random_state=1)

    vectorizer, straight = HashingVectorizer(n_features=1 << 10), classifier()
    stream.fit(vectorizer, straight, passes=1, seed=1, weigh=lambda *_: None)
    write_state(vectorizer, straight, stream.splits, tmp_path / STATE)
    with np.load(tmp_path / STATE, allow_pickle=False) as stored:
        state = {key: stored[key] for key in stored.files}
    resumed = classifier()
    about = json.loads(str(state.pop("about")))
    for key, value in {**state, **about["numbers"]}.items():
        setattr(resumed, key, value)
    resumed.classes_ = np.array(about["classes"], dtype=object)
    for one in (straight, resumed):
        new.fit(vectorizer, one, passes=1, seed=2, weigh=lambda *_: None)
    np.testing.assert_array_equal(straight.coef_, resumed.coef_)
    np.testing.assert_array_equal(straight.intercept_, resumed.intercept_)


def test_words_without_an_origin_stay():
    assert with_origin(["model.C=1"]) == ["model.C=1"]


@pytest.mark.slow
def test_the_champions_recipe_goes_on_in_memory_and_as_a_stream(tmp_path, cli, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    rows = shuffled(3)
    write(tmp_path / "a.jsonl", rows[:1200], "review", "stars")
    write(tmp_path / "more.jsonl", rows[1200:1300])
    write(
        tmp_path / "spam.jsonl",
        [(f"x {i}", ("spam", "ham")[i % 2]) for i in range(100)],
        "review",
        "stars",
    )
    base = ["a.jsonl", "--text", "review", "--label", "stars", "--json"]
    first = cli("train", *base, "vectorizer.ngram_range=[1,1]", "model.C=0.7")
    assert first.code == 0, first.err
    assert cli("register", "--promote").code == 0
    on = cli("train", "from=champion", "data.also=more.jsonl", "model.C=0.9", "--json")
    assert on.code == 0, on.err
    params = on.document["params"]
    assert (params["vectorizer.ngram_range"], params["data.text_column"]) == ([1, 1], "review")
    assert params["model.C"] == 0.9
    assert params["start_from"] == read_pointer("outputs", "champion")["digest"]
    assert on.document["data"]["corrections"] > 60
    words = with_origin(["from=latest", "data.also=b.jsonl"])
    assert [word for word in words if word.startswith("data.also=")] == ["data.also=b.jsonl"]
    assert "learned from with data.also=more.jsonl,b.jsonl" in capfd.readouterr().err
    # Another model is another recipe, whose keys are not those of the champion's.
    other = cli("train", "from=champion", "model=logreg", "--json")
    assert other.code == 0, other.err
    assert other.document["params"]["model.C"] == 1.0
    wrong = cli("train", "from=champion", "data.train=spam.jsonl")
    assert wrong.code == 2
    assert "knows the labels negative, positive, the data hold ham, spam" in wrong.err
    assert "no model 'champ'" in cli("train", "from=champ").err

    words = ["vectorizer=hashing", "model=sgd", "data.streaming=true"]
    streamed = cli("train", *base, *words)
    assert streamed.code == 0, streamed.err
    again = cli("train", "from=latest")
    assert again.code == 2
    assert "has learned from these rows already" in again.err
    assert "another vectorizer (n_features" in cli(
        "train", "from=latest", "data.also=more.jsonl", "vectorizer.n_features=1024"
    ).err  # fmt: skip
    further = cli("train", "from=latest", "data.also=more.jsonl", "--json")
    assert further.code == 0, further.err
    assert further.document["data"]["rows_train"] == further.document["data"]["corrections"]
    assert further.document["digest"] != streamed.document["digest"]
    assert "was not trained on a stream" in cli(
        "train", "from=champion", "data.also=more.jsonl", *words
    ).err  # fmt: skip
