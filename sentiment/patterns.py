"""Whether a token pattern of somebody's own takes long for some text.

A regular expression that backtracks holds this process up, every client with it, and cannot be
stopped. So a model's pattern is tried first, in a process of its own whose processor time is
limited, on the texts that make patterns slow: long runs of the characters that it is about, and an
end that does not match.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from typing import Any

from sentiment.errors import ModelError

LENGTH = 20_000
"""Characters of each text that is tried."""
SECONDS = 0.05
"""Of processor time for one text; a pattern that does not go back takes less than a tenth of it."""
ALL_SECONDS = 3

_USUAL = "a0_ -'.é!\n"
_PAIRED = 12


def patterns_of(pipeline: Any) -> Iterator[Any]:
    """Yield the token patterns of a scikit-learn pipeline, those of all its parts."""
    for name, value in pipeline.get_params().items():
        if name.endswith("token_pattern"):
            yield value


def check_patterns(patterns: Iterable[Any]) -> None:
    """Try each token pattern that is not one of the named ones.

    Raises
    ------
    ModelError
        One takes too long.
    """
    from sentiment.text.spec import PATTERNS, SKLEARN_PATTERN

    for pattern in patterns:
        if not isinstance(pattern, str) or pattern in PATTERNS or pattern == SKLEARN_PATTERN:
            continue
        if problem := _problem(pattern):
            raise ModelError(
                f"token_pattern={pattern!r} {problem}: a stranger's text could stop the service; "
                "take a named pattern, or one that does not go back (`++` and `*+` never do)"
            )


@lru_cache(64)
def _problem(pattern: str) -> str:
    tried = subprocess.run(
        [sys.executable, "-m", __name__],
        input=pattern.encode("utf-8", "surrogatepass"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if tried.returncode < 0:  # the system ended it
        return f"takes more than {ALL_SECONDS} s for a text of {LENGTH:,} characters"
    if tried.returncode:
        return "could not be tried"
    return tried.stdout.decode()


def slowest(pattern: str) -> tuple[float, str]:
    """Return the processor time in seconds of the slowest text, and how that text begins."""
    try:
        compiled = re.compile(pattern)
    except re.error:
        return 0.0, ""  # whoever loads the model says what is wrong with it
    characters = list(dict.fromkeys(_USUAL + pattern))
    parts = characters + ["".join(pair) for pair in product(characters[:_PAIRED], repeat=2)]
    worst = 0.0, ""
    for part in parts:
        text = part * (LENGTH // len(part)) + "\0"
        started = time.process_time()
        compiled.findall(text)
        worst = max(worst, (time.process_time() - started, part))
        if worst[0] > SECONDS:
            break
    return worst


def main() -> None:
    """Say what is wrong with the pattern on standard input; nothing if it is good."""
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (ALL_SECONDS, ALL_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pattern = sys.stdin.buffer.read().decode("utf-8", "surrogatepass")
    seconds, part = slowest(pattern)
    if seconds > SECONDS:
        sys.stdout.write(f"takes {seconds:.2f} s for {LENGTH:,} characters of {part!r}")


if __name__ == "__main__":
    main()
