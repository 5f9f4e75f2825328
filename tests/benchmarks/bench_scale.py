"""More text than memory: time, memory and disk of a training in blocks, beside fastText and Vowpal Wabbit.

    python tests/benchmarks/bench_scale.py --texts 100000 400000 --memory 2GB
    python tests/benchmarks/bench_scale.py --texts 400000 --peers PYTHON
    python tests/benchmarks/bench_scale.py --texts 200000 --test 400000 --memory 2GB vectorizer=blend
    python tests/benchmarks/bench_scale.py --texts 200000 --ray 1 2 4    # nodes of one core each

What stands at the end are overrides of the config.

PYTHON can import fasttext and vowpalwabbit, of an environment of their own:
`uv venv peers && uv pip install --python peers fasttext vowpalwabbit`.

Texts of 80 words are made from the embedded reviews by drawing sentences of one label, so that their
vocabulary and its frequencies are real. Test texts are made of the sentences of other reviews than
those trained on. Peak memory is the resident set of the process and its
children, read every 0.2 s.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.clusters import cluster_of
from support.reviews import shuffled

WORDS = 80
N_TEST = 20_000
_PART = 100_000


def sentences(rows: list[tuple[str, str]]) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {"negative": [], "positive": []}
    for text, label in rows:
        plain = text.replace("<br />", " ")
        found[label] += [part.split() for part in re.split(r"(?<=[.!?])\s+", plain) if part.strip()]
    return found


def made(pool: dict[str, list[list[str]]], n: int, seed: int) -> pl.DataFrame:
    chance = random.Random(seed)
    texts, labels = [], []
    for _ in range(n):
        label = chance.choice(("negative", "positive"))
        words: list[str] = []
        while len(words) < WORDS:
            words += chance.choice(pool[label])
        texts.append(" ".join(words[:WORDS]))
        labels.append(label)
    return pl.DataFrame({"text": texts, "label": labels})


def write(folder: Path, n: int, n_test: int) -> None:
    rows = shuffled()
    train, test = sentences(rows[:20_000]), sentences(rows[20_000:])
    (folder / "train").mkdir(parents=True)
    for part, first in enumerate(range(0, n, _PART)):
        made(train, min(_PART, n - first), part).write_parquet(folder / f"train/{part:03}.parquet")
    made(test, n_test, -1).write_parquet(folder / "test.parquet")


def held(process: psutil.Process) -> tuple[int, int]:
    """Resident and anonymous bytes of a process and its children."""
    resident = anonymous = 0
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error, OSError):
            memory = each.memory_info()
            resident += memory.rss
            anonymous += memory.rss - memory.shared
    return resident, anonymous


def run(words: list[str], cwd: Path, **extra: str) -> dict[str, float | str]:
    begin = time.perf_counter()
    peaks = np.zeros(2)
    disk = 0
    with (cwd / "out").open("w") as out, (cwd / "err").open("w") as err:
        child = psutil.Popen(words, cwd=cwd, stdout=out, stderr=err, env={**os.environ, **extra})
        while child.poll() is None:
            with contextlib.suppress(psutil.Error):
                peaks = np.maximum(peaks, held(child))
            if int(time.perf_counter()) % 5 == 0:
                disk = max(disk, folder_size(cwd / "outputs/cache"))
            time.sleep(0.2)
    if child.returncode:
        raise SystemExit((cwd / "err").read_text()[-2000:])
    return {
        "seconds": time.perf_counter() - begin,
        "peak_gb": peaks[0] / 1e9,
        "peak_anonymous_gb": peaks[1] / 1e9,
        "disk_gb": disk / 1e9,
        "out": (cwd / "out").read_text(),
    }


def folder_size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total


def sentiment(folder: Path, memory: str, *words: str) -> dict[str, float]:
    found = run(
        [
            sys.executable, "-m", "sentiment", "train", "data=files", f"data.train={folder}/train",
            f"data.test={folder}/test.parquet", "data.val_size=0.005", f"data.memory={memory}",
            "cache.max_gb=0", *words, "--json",
        ],
        folder,
        PYTHONPATH=str(Path(__file__).resolve().parents[2]),
    )  # fmt: skip
    document = json.loads(str(found.pop("out")))
    stages = {f"s_{name}": seconds for name, seconds in document["timings"].items()}
    found["digest"] = document["digest"][:12]
    return {**found, **stages, "accuracy": document["metrics"]["test_accuracy"]}  # type: ignore[dict-item]


def on_ray(folder: Path, memory: str, nodes: int, *words: str) -> dict[str, float]:
    """The same on a cluster of so many nodes of one core each."""
    with cluster_of(nodes, 300 << 20) as cluster:
        where = ["engine=ray", f"engine.address={cluster.address}"]
        return sentiment(folder, memory, *where, *words)


_FASTTEXT = """
import fasttext, sys
model = fasttext.train_supervised('train.ft', wordNgrams=2, epoch=5, thread=2, verbose=0)
print(model.test('test.ft')[1])
"""


def fasttext(folder: Path, python: str) -> dict[str, float]:
    for name in ("train", "test"):
        with (folder / f"{name}.ft").open("w") as file:
            for text, label in rows_of(folder, name):
                file.write(f"__label__{label} {' '.join(split(text))}\n")
    found = run([python, "-c", _FASTTEXT], folder)
    accuracy = float(found.pop("out"))
    return {**found, "accuracy": accuracy}  # type: ignore[dict-item]


_VOWPAL = """
from vowpalwabbit import Workspace
words = '-d train.vw --ngram 2 -b 24 --loss_function logistic --passes 5 -c -k -f model.vw --quiet'
Workspace(words).finish()
"""
_VOWPAL_TEST = """
from vowpalwabbit import Workspace
Workspace('-d test.vw -t -i model.vw -p answers --quiet').finish()
"""


def vowpal(folder: Path, python: str) -> dict[str, float]:
    for name in ("train", "test"):
        with (folder / f"{name}.vw").open("w") as file:
            for text, label in rows_of(folder, name):
                plain = re.sub(r"[|:]", " ", " ".join(split(text)))
                file.write(f"{1 if label == 'positive' else -1} |t {plain}\n")
    found = run([python, "-c", _VOWPAL], folder)
    found.pop("out")
    run([python, "-c", _VOWPAL_TEST], folder)
    answers = np.loadtxt(folder / "answers") > 0
    truth = np.array([label == "positive" for _, label in rows_of(folder, "test")])
    return {**found, "accuracy": float((answers == truth).mean())}  # type: ignore[dict-item]


def split(text: str) -> list[str]:
    return re.findall(r"\w+(?:'\w+)?|[^\w\s]", text.lower())


def rows_of(folder: Path, name: str):
    files = sorted((folder / name).glob("*")) if name == "train" else [folder / f"{name}.parquet"]
    for file in files:
        yield from pl.read_parquet(file).iter_rows()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--memory", default="0", help="data.memory; 0 is blocks always")
    parser.add_argument("--test", type=int, default=N_TEST, help="test texts")
    parser.add_argument(
        "--ray", type=int, nargs="+", default=[], help="on clusters of so many nodes too"
    )
    parser.add_argument("words", nargs="*", help="overrides of the config")
    parser.add_argument("--peers", metavar="PYTHON", help="that imports fasttext and vowpalwabbit")
    asked = parser.parse_args()
    for n in asked.texts:
        with tempfile.TemporaryDirectory(prefix="bench-scale-") as scratch:
            folder = Path(scratch)
            write(folder, n, asked.test)
            size = sum(len(text) for text, _ in rows_of(folder, "train"))
            results = {"sentiment": sentiment(folder, asked.memory, *asked.words)}
            for nodes in asked.ray:
                results[f"Ray, {nodes}"] = on_ray(folder, asked.memory, nodes, *asked.words)
            if asked.peers:
                results["fastText"] = fasttext(folder, asked.peers)
                results["Vowpal"] = vowpal(folder, asked.peers)
            for name, found in results.items():
                figures = "  ".join(
                    f"{key} {value if isinstance(value, str) else format(value, '.3f')}"
                    for key, value in found.items()
                )
                print(f"{n:>9,} texts, {size / 1e9:.3f} GB  {name:9}  {figures}", flush=True)


if __name__ == "__main__":
    main()
