"""A disk that is full: one line that names it, nothing half written, and it goes on afterwards."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sentiment.files import no_space, write_whole
from sentiment.store import resolve


def test_why_something_failed_is_looked_for_behind_it(tmp_path):
    with pytest.raises(OSError, match="No space left") as full, Path("/dev/full").open("w") as file:
        file.write("x")
    error = ValueError("the table cannot be made")
    error.__cause__ = full.value
    assert "no space left: " in str(no_space(error))
    full.value.__cause__ = error  # an error may be its own context's cause
    assert no_space(error)
    assert no_space(ValueError("something else")) is None
    assert no_space(RuntimeError("(sqlite3.OperationalError) database or disk is full"))
    missing = OSError(28, "No space left on device", str(tmp_path / "not" / "there"))
    assert str(tmp_path) in str(no_space(missing))


@pytest.fixture
def small(tmp_path):
    """A disk of 16 MB; a function fills it up to so many free kilobytes."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place]
    try:
        made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        made = False
    if not made:
        pytest.skip("a small disk needs the right to mount one")

    def fill(kilobytes):
        (place / "fill").unlink(missing_ok=True)
        found = os.statvfs(place)
        free = found.f_bavail * found.f_frsize
        (place / "fill").write_bytes(bytes(free - kilobytes * 1024))

    yield place, fill
    subprocess.run(["umount", "--lazy", place], check=True)  # whoever still has a file open


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    rng = random.Random(0)
    file = tmp_path_factory.mktemp("full") / "many.csv"
    words = [f"w{i}" for i in range(500)]
    rows = [
        f"{' '.join(rng.choices(words, k=40))} {'good' if i % 2 else 'bad'},{'pn'[i % 2]}"
        for i in range(2_000)
    ]
    write_whole(file, "\n".join(["text,label", *rows]))
    return file


def sentiment(*words):
    return subprocess.run(
        [sys.executable, "-m", "sentiment", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def one_line(done, place):
    """Check what a full disk gave: one line about it, and no trace of statements or frames."""
    assert done.returncode == 1, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "no space left: " in last
    assert str(place) in last
    for noise in ("Traceback", "[SQL", "sqlalche"):
        assert noise not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [0, 1_000])
def test_training_on_a_full_disk(small, reviews, kilobytes):
    place, fill = small
    out = place / "outputs"
    words = ["train", "data=files", f"data.train={reviews}", f"output_dir={out}"]
    fill(kilobytes)
    one_line(sentiment(*words), place)
    assert not list(out.glob("**/.writing-*"))
    (place / "fill").unlink()
    done = sentiment(*words)
    assert done.returncode == 0, done.stderr
    assert resolve("latest", out).path.is_dir()


@pytest.mark.slow
def test_predicting_onto_a_full_disk_goes_on_when_there_is_room(small, reviews, tmp_path):
    place, fill = small
    out = tmp_path / "outputs"
    trained = sentiment(
        "train", "data=files", f"data.train={reviews}", f"output_dir={out}", "vectorizer=count",
        "model=naive_bayes",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    for name in ("answers.csv", "answers.parquet", "answers.csv.gz"):
        words = ["predict", "--input", reviews, "--output-dir", out, "--batch-size", 100]
        assert sentiment(*words, "--output", tmp_path / name).returncode == 0
        fill(60)
        words += ["--output", place / name]
        one_line(sentiment(*words), place)
        assert not (place / name).exists()
        assert not list(place.glob(".*"))
        (place / "fill").unlink()
        again = [] if name.endswith("gz") else ["--resume"]
        done = sentiment(*words, *again)
        assert done.returncode == 0, done.stderr
        if not name.endswith("parquet"):
            assert (place / name).read_bytes() == (tmp_path / name).read_bytes()
