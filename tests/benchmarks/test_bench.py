"""The runner of the benchmarks: what it compares, and the table that it writes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def bench(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, HERE / "bench.py", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def figures(path: Path, **ranges: tuple[float, float]) -> Path:
    found = {
        name.replace("_", " ", 1).replace(" ", ": ", 1): {
            "median": (low + high) / 2, "low": low, "high": high, "runs": 3,
        }
        for name, (low, high) in ranges.items()
    }  # fmt: skip
    path.write_text(json.dumps({"machine": {}, "figures": found}))
    return path


@pytest.mark.parametrize(
    ("new", "worse"),
    [
        ({"cli_seconds": (2.0, 2.2), "cli_times": (9.0, 11.0)}, []),
        ({"cli_seconds": (2.4, 2.9), "cli_times": (9.0, 11.0)}, ["cli: seconds"]),
        ({"cli_seconds": (1.0, 1.1), "cli_times": (5.0, 7.0)}, ["cli: times"]),
        ({"cli_seconds": (1.0, 1.1), "cli_times": (50.0, 70.0)}, []),
        ({"cli_seconds": (2.15, 2.9), "cli_times": (7.5, 12.0)}, []),  # ranges overlap: noise
        ({"cli_another": (9.0, 9.0)}, []),
    ],
)
def test_what_became_slower_beyond_noise_is_named(
    tmp_path: Path, new: dict[str, tuple[float, float]], worse: list[str]
) -> None:
    old = figures(tmp_path / "old.json", cli_seconds=(2.0, 2.2), cli_times=(8.0, 12.0))
    done = bench("--compare", old, figures(tmp_path / "new.json", **new))
    lines = done.stdout.splitlines()
    assert done.returncode == (1 if worse else 0), done.stderr
    assert [line.rsplit(": ", 1)[0] for line in lines if "->" in line] == worse


def test_the_table_names_benchmarks_that_are_there() -> None:
    named = set(re.findall(r"{(\w+): ", (HERE / "figures.md").read_text()))
    assert named
    assert {f"bench_{name}.py" for name in named} <= {path.name for path in HERE.glob("*.py")}
    done = bench("nothing")
    assert done.returncode == 2
    assert "no benchmark nothing; there are" in done.stderr
