"""Run the benchmarks, keep their figures, and tell what became slower.

    python tests/benchmarks/bench.py [NAME ...] [--repeat 3] [--json FILE]
    python tests/benchmarks/bench.py --compare OLD.json NEW.json
    python tests/benchmarks/bench.py --readme FILE.json [FILE.json ...]

A benchmark is a script ``bench_NAME.py`` beside this one that takes ``--json``. Each is run
``--repeat`` times as a process of its own, so that a figure has a median and a range. The file
holds the machine, versions, and every figure. ``--compare`` names the figures whose ranges lie
apart in the wrong direction, and ends with 1 when there are any; ratios to a peer of the same run
carry over to another machine, seconds do not. ``--readme`` writes the table of the README, of one
file or of several that hold different benchmarks of one day.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
TABLE = HERE / "figures.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
PACKAGES = (
    "sentiment-mlops",
    "numpy",
    "scipy",
    "scikit-learn",
    "mlflow-skinny",
    "polars",
    "uvicorn",
)
# What is better when it is larger; everything else is seconds, bytes or shares of them.
LARGER = re.compile(r"times|faster|per_second|accuracy|against|ratio|points")
# No judgement on figures that say what was measured.
NEUTRAL = re.compile(r"load before|processors|reviews|ngrams|values|features|jobs|requests$|same ")
# Ranges of a few runs are narrower than what the machine does in a month.
NOISE = 0.05


def names() -> list[str]:
    """Return the benchmarks that report in JSON."""
    scripts = sorted(HERE.glob("bench_*.py"))
    return [path.stem.removeprefix("bench_") for path in scripts if "json" in path.read_text()]


def in_readme() -> list[str]:
    """Return the benchmarks whose figures the README's table shows."""
    return sorted(set(re.findall(r"{(\w+): ", TABLE.read_text())))


def flat(document: Any, prefix: str) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a document under the names of their keys, joined by dots."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(document, int | float):
        yield prefix, float(document)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    model = ""
    if Path("/proc/cpuinfo").exists():
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        model = found[1] if found else ""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "processors": os.cpu_count(),
        "processor": model,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
    }


def run(name: str) -> dict[str, float]:
    """Run one benchmark once."""
    done = subprocess.run(
        [sys.executable, HERE / f"bench_{name}.py", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"bench_{name}.py ended with {done.returncode}")
    return dict(flat(json.loads(done.stdout.splitlines()[-1]), ""))


def measure(chosen: list[str], repeat: int) -> dict[str, Any]:
    """Return the figures of the chosen benchmarks, round by round so that noise is shared out."""
    values: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in chosen}
    for number in range(repeat):
        for name in chosen:
            print(f"{name}, {number + 1} of {repeat}", file=sys.stderr)
            for key, value in run(name).items():
                values[name][key].append(value)
    return {
        "machine": machine(),
        "figures": {
            f"{name}: {key}": {
                "median": statistics.median(found),
                "low": min(found),
                "high": max(found),
                "runs": len(found),
            }
            for name, figures in values.items()
            for key, found in figures.items()
        },
    }


def slower(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return a line for each figure that became worse by more than noise."""
    lines = []
    for name, after in new["figures"].items():
        before = old["figures"].get(name)
        if before is None or NEUTRAL.search(name) or not before["median"]:
            continue
        if LARGER.search(name):
            worse = after["high"] < before["low"] * (1 - NOISE)
        else:
            worse = after["low"] > before["high"] * (1 + NOISE)
        if worse:
            change = after["median"] / before["median"]
            lines.append(
                f"{name}: {before['median']:.4g} ({before['low']:.4g} to {before['high']:.4g}) -> "
                f"{after['median']:.4g} ({after['low']:.4g} to {after['high']:.4g}), {change:.2f} of it"
            )
    return lines


def table(document: dict[str, Any]) -> str:
    """Return the README's table: `figures.md` with each ``{name: figure}`` replaced by its range."""
    figures = document["figures"]

    def fill(match: re.Match[str]) -> str:
        found = figures[match[1]]
        digits = match[2] or ".2g"
        low, high = (format(found[end], digits) for end in ("low", "high"))
        return low if low == high else f"{low} to {high}"

    on = document["machine"]
    head = (
        f"Measured side by side on {on['date']} ({on['processors']} shared processors, "
        f"{on['processor']}; Python {on['python']}): ranges of the runs. "
        "Ratios carry over, seconds do not.\n\n"
    )
    return head + re.sub(r"{([^{}|]+?)(?:\|([^{}]*))?}", fill, TABLE.read_text())


def between_markers(text: str, content: str) -> str:
    """Return the README with new content between the markers."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + content + END + rest.split(END)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("OLD", "NEW"))
    parser.add_argument(
        "--readme", type=Path, nargs="+", metavar="FILE", help="fill the README's table"
    )
    options = parser.parse_args()
    if options.compare:
        lines = slower(*(json.loads(path.read_text()) for path in options.compare))
        print("\n".join(lines) or "nothing became slower beyond noise")
        raise SystemExit(1 if lines else 0)
    if options.readme:
        documents = [json.loads(path.read_text()) for path in options.readme]
        figures = {name: one for each in documents for name, one in each["figures"].items()}
        content = table({**documents[-1], "figures": figures})
        README.write_text(between_markers(README.read_text(), content))
        return
    unknown = set(options.names) - set(names())
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    document = measure(options.names or in_readme(), options.repeat)
    if options.json:
        partial = options.json.with_suffix(".partial")
        partial.write_text(json.dumps(document, indent=1) + "\n")
        partial.replace(options.json)
        return
    for name, found in document["figures"].items():
        print(f"{name:64} {found['median']:12.4g}  ({found['low']:.4g} to {found['high']:.4g})")


if __name__ == "__main__":
    main()
