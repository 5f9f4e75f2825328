"""What a page says is what its run's test predictions say, recomputed here by other code than ours."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, bootstrap, fisher_exact
from sklearn import metrics
from support.reviews import shuffled

from sentiment import config
from sentiment.training.run import train


def cells(page, heading):
    """Return the first table below a heading, by its first column."""
    below = page[page.index(f"<h2>{heading}</h2>") :]
    body = below[below.index("<tbody>") : below.index("</tbody>")]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in body.split("</tr>") if "<td" in row]
    return {re.sub(r"<[^>]+>| \(less is better\)", "", row[0]): row[1:] for row in rows}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    rows = shuffled(11)[:1600]
    source = [("blog", "press", "forum")[i % 3] for i in range(len(rows))]
    pl.DataFrame(
        {"text": [t for t, _ in rows], "label": [k for _, k in rows], "source": source}
    ).write_parquet(folder / "a.parquet")
    words = [
        "data=files", f"data.train={folder}/a.parquet", "data.slice_columns=[source]",
        "data.test_size=0.4", "data.positive_label=positive", "vectorizer.ngram_range=[1,1]",
        "curve=true", f"output_dir={folder}/out",
    ]  # fmt: skip
    done = train(config.compose(words))
    logged = folder / "out" / "artifacts" / done.run_id / "artifacts"
    found = pl.read_parquet(logged / "test_predictions.parquet")
    by_hash = {
        hashlib.sha256(text.encode()).hexdigest(): (text, kind)
        for (text, _), kind in zip(rows, source, strict=True)
    }
    known = [by_hash[digest] for digest in found["text_sha256"]]
    found = found.with_columns(
        text=pl.Series([text for text, _ in known]), source=pl.Series([kind for _, kind in known])
    )
    return (logged / "report.html").read_text(), found, done


@pytest.mark.slow
def test_the_figures_of_a_page_are_those_of_its_predictions(run):
    page, found, done = run
    shown = cells(page, "Figures")
    truth = (found["label"] == "positive").to_numpy()
    chance = found["probability_positive"].to_numpy()
    said = (found["predicted"] == "positive").to_numpy()
    confidence, right = np.maximum(chance, 1 - chance), said == truth
    bins = np.clip((confidence * 15).astype(int), 0, 14)
    gaps = [
        (bins == b).mean() * abs(confidence[bins == b].mean() - right[bins == b].mean())
        for b in np.unique(bins)
    ]
    expected = {
        "accuracy": right.mean(),
        "precision": metrics.precision_score(truth, said),
        "recall": metrics.recall_score(truth, said),
        "f1 score": metrics.f1_score(truth, said),
        "roc auc": metrics.roc_auc_score(truth, chance),
        "average precision": metrics.average_precision_score(truth, chance),
        "log loss": metrics.log_loss(truth, chance),
        "brier score": metrics.brier_score_loss(truth, chance),
        "ece": sum(gaps),
    }
    assert set(shown) == set(expected)
    for name, value in expected.items():
        assert float(shown[name][0]) == pytest.approx(value, abs=6e-5), name
        assert done.metrics[f"test_{name.replace(' ', '_')}"] == pytest.approx(value), name

    # Intervals: those of resampled rows, as near as a few hundred draws tell.
    of_rows = {
        "accuracy": lambda t, c: ((c > 0.5) == t).mean(),
        "roc auc": metrics.roc_auc_score,
        "log loss": lambda t, c: metrics.log_loss(t, c, labels=[False, True]),
        "brier score": metrics.brier_score_loss,
        "f1 score": lambda t, c: metrics.f1_score(t, c > 0.5),
    }
    for name, figure in of_rows.items():
        low, high = map(float, shown[name][1].split(" to "))
        drawn = bootstrap(
            (truth, chance), figure, paired=True, vectorized=False, n_resamples=300,
            method="percentile", rng=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        width = drawn.high - drawn.low
        assert low == pytest.approx(drawn.low, abs=0.25 * width), name
        assert high == pytest.approx(drawn.high, abs=0.25 * width), name


@pytest.mark.slow
def test_the_slices_of_a_page_are_those_of_its_predictions(run):
    page, found, _ = run
    shown = cells(page, "Slices")
    right = (found["label"] == found["predicted"]).to_numpy()
    masks = {
        f"source: {kind}": (found["source"] == kind).to_numpy()
        for kind in ("blog", "press", "forum")
    }
    negation = (
        r"(?i)\b(not|no|never|nor|neither|nobody|nothing|nowhere|none|hardly|without|cannot|"
        r"\w+n['’]t)\b"
    )
    masks["a negation"] = found["text"].str.contains(negation).to_numpy()
    for name, mask in masks.items():
        (key,) = [key for key in shown if key.replace("=", ": ").startswith(name)]
        rows, accuracy, span, others, _ = shown[key]
        hits, n = int(right[mask].sum()), int(mask.sum())
        assert int(rows.replace(",", "")) == n
        assert float(accuracy.rstrip("%")) == pytest.approx(100 * hits / n, abs=0.06)
        assert float(others.rstrip("%")) == pytest.approx(100 * right[~mask].mean(), abs=0.06)
        interval = binomtest(hits, n).proportion_ci(method="wilson")
        low, high = (float(end.rstrip("%")) for end in span.split(" to "))
        assert low == pytest.approx(100 * interval.low, abs=0.06)
        assert high == pytest.approx(100 * interval.high, abs=0.06)
    # Holm's correction makes a p-value up to as many times as large as there are slices.
    for name, mask in masks.items():
        outside = right[~mask]
        table = [[right[mask].sum(), (~right[mask]).sum()], [outside.sum(), (~outside).sum()]]
        own = fisher_exact(table, alternative="less").pvalue
        (key,) = [key for key in shown if key.replace("=", ": ").startswith(name)]
        told = float(re.sub(r"<.*", "", shown[key][-1]))
        assert min(1.0, own) * 0.94 <= told <= min(1.0, len(shown) * own) * 1.06


@pytest.mark.slow
def test_the_learning_curve_stands_in_the_page_when_asked_for(run):
    page, _, done = run
    shown = cells(page, "Learning curve")
    sizes = [int(name.replace(",", "")) for name in shown]
    assert sizes == sorted(sizes)
    assert sizes[-1] == done.data["rows_train"]
    # All labels make the model of the run: the same figure.
    assert float(list(shown.values())[-1][1]) == pytest.approx(
        done.metrics["val_accuracy"], abs=6e-5
    )
