"""How much is answered: counted by the model's own rule, held against its band, the same everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom

from sentiment.drift.coverage import CoverageState, by_chance, measure_coverage
from sentiment.drift.reference import Reference
from sentiment.drift.report import html_report
from sentiment.drift.signals import MINIMUM_TEXTS, measure, parse_limits
from sentiment.errors import ModelError
from sentiment.scorer import Scorer
from sentiment.store import resolve

from .test_window import loaded, monitor, see, three_classes

__all__ = ["monitor"]


@pytest.fixture(scope="module")
def scorer(store):
    return Scorer.load(resolve("champion", store).path)


def altered(scorer, **reference):
    """The scorer with another reference; None takes a key away."""
    new = {**scorer.document["reference"], **reference}
    new = {key: value for key, value in new.items() if value is not None}
    other = Scorer.__new__(Scorer)
    other.__dict__ |= {**scorer.__dict__, "document": {**scorer.document, "reference": new}}
    return other


def counted(reference, own, answered, overridden=0):
    """Counts of so many texts."""
    counts = reference.zeros()
    counts["labels"][0] = own + overridden
    counts["own"], counts["answered"] = own, answered
    return counts


def gauges(some):
    """What the window tells Prometheus: (name, labels) to value."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in some.collect()
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("share", "n", "more"), [(0.9, 1000, 300), (0.7, 200, 1000), (0.5, 60, 60)]
)
def test_chance_stays_inside_95_times_of_100(share, n, more):
    """Exactly, by adding up what both samples may be."""
    hits, draws = np.arange(n + 1), np.arange(more + 1)
    inside = 0.0
    for right in hits[binom.pmf(hits, n, share) > 1e-9].tolist():
        low, high = by_chance(right, n, more)
        kept = (draws / more >= low) & (draws / more <= high)
        inside += binom.pmf(right, n, share) * binom.pmf(draws[kept], more, share).sum()
    assert inside == pytest.approx(0.95, abs=0.015)


def test_ends_are_where_the_test_of_equal_shares_just_says_no():
    from scipy.stats import chi2

    for right, n, more in ((900, 1000, 300), (3, 40, 500), (0, 100, 100), (100, 100, 250)):
        for end in by_chance(right, n, more):
            if 0 < end < 1:
                pooled = (right + end * more) / (n + more)
                z = (end - right / n) / (pooled * (1 - pooled) * (1 / n + 1 / more)) ** 0.5
                assert z * z == pytest.approx(chi2.ppf(0.95, 1), rel=1e-5)
    assert by_chance(0, 100, 100)[0] == 0
    assert by_chance(100, 100, 100)[1] == 1


def test_the_band_is_chance_and_the_limit(scorer):
    reference = Reference(altered(scorer, answered=900, n=1000))
    low, high = by_chance(900, 1000, 500)
    for answered, state in (
        (450, CoverageState.INSIDE),
        (round((low - 0.05) * 500 - 1), CoverageState.BELOW),
        (round((low - 0.05) * 500 + 1), CoverageState.INSIDE),
        (500, CoverageState.ABOVE),
    ):
        counts = counted(reference, 500, answered, overridden=7)
        found = measure_coverage(reference, counts, 0.05, MINIMUM_TEXTS)
        assert (found.low, found.high) == pytest.approx((low - 0.05, high + 0.05))
        assert (found.state, found.texts, found.overridden) == (state, 500, 7), answered
        (signal,) = (s for s in measure(reference, counts).signals if s.name == "coverage")
        assert signal.drifted is (state is not CoverageState.INSIDE)
        assert signal.value == pytest.approx(abs(answered / 500 - 0.9))
    wider = measure(reference, counted(reference, 500, 500), parse_limits("coverage=0.2"))
    assert wider.coverage.state is CoverageState.INSIDE
    assert wider.coverage.high == 1


def test_too_few_texts_of_the_models_own_rule_say_nothing(scorer):
    reference = Reference(scorer)
    few = measure(reference, counted(reference, MINIMUM_TEXTS - 1, 0, overridden=1000))
    assert few.coverage.state is None
    assert few.coverage.window == 0
    none = measure(reference, reference.zeros()).document()["coverage"]
    assert none["window"] is none["low"] is none["state"] is None
    assert none["reference"] == reference.answered / reference.n


def test_an_older_model_and_one_that_answers_always_have_none_of_it(monitor, scorer, streams):
    assert "answered" not in three_classes().document["reference"]
    for other in (altered(scorer, answered=None), three_classes()):
        some = monitor(directory=None)
        model = loaded(other)
        some.swapped(model)
        see(some, model, streams.movies[:250])
        document = some.document()
        assert "coverage" not in document
        assert "coverage" not in document["signals"]
        assert document["drift"] is not None
        told = gauges(some)
        assert ("sentiment_drift_value", "length") in told
        assert not [key for key in told if "coverage" in " ".join(key)]


def test_a_reference_that_cannot_be_is_refused(scorer):
    with pytest.raises(ModelError, match="it answered 1001 of 1000 texts"):
        Reference(altered(scorer, answered=1001))


def test_workers_add_up_overridden_texts_stay_out_and_a_swap_begins_anew(monitor, scorer, streams):
    first, second = monitor(1000), monitor(1000)
    model = loaded(scorer)
    for some in (first, second):
        some.swapped(model)
    see(first, model, streams.movies[:150])
    see(second, model, streams.movies[150:300])
    said = model.scorer.predict(streams.german[:100])
    second.add(model, streams.german[:100], [said], own=False)
    second.add_one(model, "what?", model.scorer.predict_one("what?"), own=False)
    second.flush()
    confidence = scorer.predict(streams.movies[:300]).confidence
    share = float((confidence >= 0.7).mean())
    for some in (first, second):
        found = some.compare().coverage
        assert (found.texts, found.overridden) == (300, 101)
        assert found.window == pytest.approx(share)
        told = gauges(some)
        assert told["sentiment_drift_coverage_ratio", "window"] == pytest.approx(share)
        assert told["sentiment_drift_coverage_ratio", "reference"] == found.reference
        assert told["sentiment_drift_coverage_band_ratio", "low"] == found.low
        assert told["sentiment_drift_coverage_band_ratio", "high"] == found.high
        assert told["sentiment_drift_coverage_texts", "request"] == 101
    for some in (first, second):
        some.swapped(loaded(three_classes()))
    first.swapped(model)
    assert first.compare().coverage.texts == 0


def doors(service, texts):
    """Send texts through every door; the last ones with a min_confidence of the client's."""
    ends = (0, 30, 150, 260, 360, 440)
    sent = [texts[start:end] for start, end in pairwise(ends)]
    for text in sent[0]:
        assert service.post("/predict", {"text": text}).status_code == 200
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(sent[3])], "data": sent[3]}
    answers = [
        service.post("/predict/batch", {"texts": sent[1]}),
        service.post("/invocations", {"inputs": sent[2]}),
        service.post("/v2/models/sentiment/infer", {"inputs": [tensor]}),
        service.post("/predict/batch", {"texts": sent[4], "min_confidence": 0.99}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    return sent


def test_the_service_and_the_command_say_the_same(serve, scorer, streams, wait_for, tmp_path):
    service = serve("--workers", 2)
    sent = doors(service, streams.movies)
    found = wait_for(lambda: service.drift_of(440, words=0)["coverage"], 30, "the window")
    file = tmp_path / "texts.jsonl"
    texts = [text for part in sent[:4] for text in part]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sentiment", "monitor", "--input", file, "--json"),
            *("--model", "champion", "--output-dir", str(service.outputs)),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["coverage"] == {**found, "overridden": 0}
    assert found["overridden"] == 80
    assert found["texts"] == 360
    assert found["state"] == "inside"

    metrics = service.metrics()
    sizes = {}
    series = r'sentiment_abstained_total{door="(\w+)",rule="(\w+)"} (\S+)'
    for door, rule, n in re.findall(series, metrics):
        sizes[door, rule] = float(n)
    expected = {
        (door, "model"): float((scorer.predict(part).confidence < 0.7).sum())
        for door, part in zip(("predict", "batch", "invocations", "v2"), sent[:4], strict=True)
    }
    expected["batch", "request"] = float((scorer.predict(sent[4]).confidence < 0.99).sum())
    assert sizes == expected
    assert sum(sizes.values()) > 50


def test_what_leaves_the_band_is_told_by_table_page_and_exit_code(store, scorer, streams, tmp_path):
    shown = streams.shuffled + [text[:15] for text in streams.movies[:300]]
    file = tmp_path / "short.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in shown))
    page = tmp_path / "page.html"
    limits = ",".join(
        f"{name}=99" for name in ("score", "labels", "unknown", "length", "low_confidence", "words")
    )
    limits += ",estimated_accuracy=99"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sentiment", "monitor", "--input", file, "--model", "champion"),
            *("--limits", limits, "--fail-on-drift", "--html", page),
        ],
        capture_output=True, text=True, check=False,
        env={**os.environ, "SENTIMENT_OUTPUT_DIR": str(store), "COLUMNS": "120"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr  # for the coverage alone
    assert re.search(r"coverage +0\.\d{3} +0\.050 +yes", done.stdout)
    assert re.search(r"answered, not withheld +\S+% +\S+%", done.stdout)
    assert re.search(r"no drift between +\S+% to \S+%", done.stdout)
    html = page.read_text(encoding="utf-8")
    assert "answered, not withheld" in html
    assert "is no drift)" in html
    assert "<td>negative, given or withheld</td>" in html
    reference = Reference(scorer)
    calm = reference.zeros()
    reference.add(calm, streams.movies[:300], scorer.predict(streams.movies[:300]))
    document = measure(reference, calm).document()
    del document["coverage"]
    plain = {**document, "input": "x", "created": "now", "model": {"digest": "ab"}, "new_words": []}
    assert "withheld" not in html_report(plain)
