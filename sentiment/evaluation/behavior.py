"""Behavioural tests of a model: what it must say, what must not change it, where a change must lead.

After Ribeiro et al., "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList", ACL 2020:
minimum functionality, invariance and direction, from templates and lexicons in a YAML file.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sentiment.errors import DataError, nearest

if TYPE_CHECKING:
    from sentiment.scorer import Predictions

SUITE = Path(__file__).with_suffix(".yaml")
"""The tests of sentiment in English that come with this package."""

_MOST_CASES = 300  # of one test; more are drawn from
_EXAMPLES = 5
_KINDS = ("minimum", "invariance", "direction")
_SLOT = re.compile(r"\{(\w+)\}")

Predict = Callable[[Sequence[str]], "Predictions"]


@dataclass(frozen=True)
class Test:
    """One test, as the file says it; see the comments of the file of this package.

    Attributes
    ----------
    name : str
    kind : {'minimum', 'invariance', 'direction'}
    texts : sequence of str
        Templates.
    label : str, optional
        Of ``minimum``.
    towards : str, optional
        Of ``direction``.
    changes, append : sequence of str
    replace : mapping of str to sequence of str
    allow : float
        Share of cases that may fail.
    tolerance : float
        By which the probability may fall, of ``direction``.
    """

    name: str
    kind: str
    texts: Sequence[str]
    label: str | None = None
    towards: str | None = None
    changes: Sequence[str] = ()
    append: Sequence[str] = ()
    replace: Mapping[str, Sequence[str]] | None = None
    allow: float = 0.0
    tolerance: float = 0.0


@dataclass(frozen=True)
class Suite:
    """Tests and the labels that they are about."""

    source: str
    labels: tuple[str, ...]
    lexicons: Mapping[str, Sequence[str]]
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Finding:
    """What became of one test.

    Attributes
    ----------
    name, kind : str
    cases, failures : int
    allow : float
    passed : bool
    examples : list of dict
        Failures: ``text``, ``before`` (of a change), ``answer``, ``expected``.
    """

    name: str
    kind: str
    cases: int
    failures: int
    allow: float
    passed: bool
    examples: list[dict[str, Any]]


@dataclass(frozen=True)
class Behavior:
    """What became of a suite."""

    source: str
    findings: list[Finding]

    @property
    def passed(self) -> bool:
        """Whether every test passes."""
        return all(one.passed for one in self.findings)

    @property
    def pass_rate(self) -> float:
        """Share of cases that pass, the mean over tests: large tests count no more."""
        return sum(1 - one.failures / one.cases for one in self.findings) / len(self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as plain containers."""
        return {
            "source": self.source,
            "passed": self.passed,
            "pass_rate": self.pass_rate,
            "tests": [asdict(one) for one in self.findings],
        }


def load_suite(file: Path | None = None) -> Suite:
    """Read a file of tests; by default those of this package.

    Raises
    ------
    DataError
        It cannot be read, or says what cannot be.
    """
    return _shipped() if file is None else _read(file, str(file))


@functools.cache
def _shipped() -> Suite:
    return _read(SUITE, "the tests of this package")


def _read(path: Path, where: str) -> Suite:
    import yaml

    from sentiment.bare_words import Meant, loader

    def meant(place: str) -> Meant | None:
        return None if place in ("tests.allow", "tests.tolerance") else Meant.NAMES

    try:
        content = yaml.load(path.read_text(encoding="utf-8"), loader(yaml.SafeLoader, meant))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(content, dict) or not isinstance(content.get("tests"), list):
        raise DataError(f"{path}: holds no list `tests`")
    known = ("labels", "lexicons", "tests")
    for key in content:
        if key not in known:
            raise DataError(f"{path}: unknown key {key!r}{nearest(str(key), known)}")
    lexicons = content.get("lexicons") or {}
    for name, words in lexicons.items():
        if not isinstance(words, list) or not words:
            raise DataError(f"{path}: the lexicon {name!r} is no list of words")
    tests = tuple(
        _test(found, f"{path}: test {number}") for number, found in enumerate(content["tests"], 1)
    )
    if not tests:
        raise DataError(f"{path}: holds no test")
    for test in tests:
        slots = {slot for text in (*test.texts, *test.append) for slot in _SLOT.findall(text)}
        for slot in sorted(slots - set(lexicons)):
            raise DataError(
                f"{path}: {test.name!r} speaks of {{{slot}}}, which is no lexicon{nearest(slot, lexicons)}"
            )
    named = {label for test in tests for label in (test.label, test.towards) if label is not None}
    labels = tuple(str(label) for label in content.get("labels") or sorted(named))
    words = {name: [str(word) for word in own] for name, own in lexicons.items()}
    return Suite(where, labels, words, tests)


def _test(found: Any, where: str) -> Test:
    if not isinstance(found, dict):
        raise DataError(f"{where} is no mapping")
    known = [field.name for field in fields(Test)]
    for key in found:
        if key not in known:
            raise DataError(f"{where}: unknown key {key!r}{nearest(str(key), known)}")
    name = str(found.get("name") or where.rpartition(": ")[2])
    where = f"{where} ({name})"
    if found.get("kind") not in _KINDS:
        raise DataError(f"{where}: kind {found.get('kind')!r} is not one of {', '.join(_KINDS)}")
    _check_values(found, where)
    _check_kind(found, where)
    labels = {key: str(found[key]) for key in ("label", "towards") if found.get(key) is not None}
    return Test(**{**found, **labels, "name": name})


def _check_values(found: Mapping[str, Any], where: str) -> None:
    """Refuse values that no test takes."""
    for key in ("texts", "changes", "append"):
        value = found.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise DataError(f"{where}: {key} is no list of texts")
    for change in found.get("changes", ()):
        if change not in _CHANGES:
            raise DataError(f"{where}: unknown change {change!r}{nearest(change, _CHANGES)}")
    replace = found.get("replace")
    if replace is not None and not (
        isinstance(replace, dict) and all(isinstance(words, list) for words in replace.values())
    ):
        raise DataError(f"{where}: replace is a mapping of a word to a list of words")
    for key in ("allow", "tolerance"):
        value = found.get(key, 0.0)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
            raise DataError(f"{where}: {key} {value!r} is no share from 0 to 1")


def _check_kind(found: Mapping[str, Any], where: str) -> None:
    """Refuse a test that lacks what its kind needs."""
    kind = found["kind"]
    if not found.get("texts"):
        raise DataError(f"{where}: has no texts")
    needs = {"minimum": "label", "direction": "towards"}.get(kind)
    if needs and found.get(needs) is None:
        raise DataError(f"{where}: a test of {kind} needs `{needs}`")
    if kind == "direction" and not found.get("append"):
        raise DataError(f"{where}: a test of direction needs `append`")
    changed = any(found.get(key) for key in ("changes", "append", "replace"))
    if kind == "invariance" and not changed:
        raise DataError(f"{where}: a test of invariance needs `changes`, `append` or `replace`")


def run_suite(suite: Suite, predict: Predict, labels: Sequence[str]) -> Behavior:
    """Run behavioural tests.

    Parameters
    ----------
    suite : Suite
    predict : callable
        `Scorer.predict`, or the like.
    labels : sequence of str
        Of the model, in the order of its probabilities.

    Raises
    ------
    DataError
        The tests are about labels that the model does not know.
    """
    missing = [label for label in suite.labels if label not in labels]
    if missing:
        raise DataError(
            f"{suite.source} are about the label {missing[0]!r}, which the model does not know "
            f"({', '.join(labels[:20])}): write tests of your own in a file"
        )
    cases = [_cases(test, suite) for test in suite.tests]
    texts = list(dict.fromkeys(text for each in cases for case in each for text in case))
    numbers = {text: number for number, text in enumerate(texts)}
    answers = predict(texts)  # of all tests at once: a call costs as much as many texts
    findings = [
        _judge(test, [[numbers[text] for text in case] for case in each], texts, answers, labels)
        for test, each in zip(suite.tests, cases, strict=True)
    ]
    return Behavior(suite.source, findings)


def applies(suite: Suite, labels: Sequence[str]) -> bool:
    """Tell whether tests are about these labels, all of them."""
    return set(suite.labels) == set(labels)


def told(found: Behavior) -> list[str]:
    """Return a sentence for each test that fails, with an example."""
    lines = []
    for one in found.findings:
        if one.passed:
            continue
        example = one.examples[0]
        lines.append(
            f'Fails the test "{one.name}": {one.failures} of {one.cases} cases, such as '
            f'"{" ".join(example["text"].split())}" ({example["answer"]}, not {example["expected"]}).'
        )
    return lines


def _cases(test: Test, suite: Suite) -> list[tuple[str, ...]]:
    """Return the texts of a test, each with what it is changed to where the test is of a change."""
    texts = _filled(test.texts, suite.lexicons)
    if test.kind == "minimum":
        return _drawn([(text,) for text in texts])
    pairs = _drawn([(text, other) for text in texts for other in _changed(text, test, suite)])
    if not pairs:
        raise DataError(f"{suite.source}: {test.name!r} changes none of its texts")
    return pairs


def _judge(
    test: Test,
    cases: list[list[int]],
    texts: Sequence[str],
    answers: Predictions,
    labels: Sequence[str],
) -> Finding:
    """Find which cases of a test fail, given as the numbers of their texts and answers."""
    failed = []
    if test.kind == "minimum":
        for (case,) in cases:
            if answers.labels[case] != test.label:
                failed.append(
                    {"text": texts[case], "answer": answers.labels[case], "expected": test.label,
                     "confidence": float(answers.confidence[case])}
                )  # fmt: skip
    elif test.kind == "invariance":
        for before, after in cases:
            was, now = answers.labels[before], answers.labels[after]
            if was != now:
                failed.append(
                    {"text": texts[after], "before": texts[before], "answer": now, "expected": was}
                )
    else:
        column = list(labels).index(str(test.towards))
        probabilities = answers.probabilities[:, column].tolist()
        for before, after in cases:
            least, found = probabilities[before], probabilities[after]
            if found < least - test.tolerance:
                failed.append(
                    {"text": texts[after], "before": texts[before],
                     "answer": f"{test.towards} {found:.3f}", "expected": f"at least {least:.3f}"}
                )  # fmt: skip
    return _finding(test, len(cases), failed)


def _finding(test: Test, cases: int, failed: list[dict[str, Any]]) -> Finding:
    passed = len(failed) <= test.allow * cases
    return Finding(test.name, test.kind, cases, len(failed), test.allow, passed, failed[:_EXAMPLES])


def _filled(templates: Iterable[str], lexicons: Mapping[str, Sequence[str]]) -> list[str]:
    """Return every text that templates stand for, in order, once."""
    found: dict[str, None] = {}
    for template in templates:
        slots = list(dict.fromkeys(_SLOT.findall(template)))
        for words in itertools.product(*(lexicons[slot] for slot in slots)):
            chosen = dict(zip(slots, words, strict=True))
            text = _SLOT.sub(lambda slot, chosen=chosen: chosen[slot[1]], template)  # type: ignore[misc]
            found[text[:1].upper() + text[1:]] = None
    return list(found)


def _drawn(cases: list[Any]) -> list[Any]:
    if len(cases) <= _MOST_CASES:
        return cases
    places = sorted(random.Random(0).sample(range(len(cases)), _MOST_CASES))
    return [cases[place] for place in places]


def _changed(text: str, test: Test, suite: Suite) -> list[str]:
    others = [other for name in test.changes for other in _CHANGES[name](text)]
    for word, words in (test.replace or {}).items():
        pattern = re.compile(rf"\b{re.escape(word)}\b")
        if pattern.search(text):
            others += [pattern.sub(lambda _, new=new: str(new), text) for new in words]  # type: ignore[misc]
    others += [f"{text} {added}" for added in _filled(test.append, suite.lexicons)]
    return [other for other in dict.fromkeys(others) if other != text]


def _typos(text: str) -> list[str]:
    """Swap two neighbouring letters inside one word, for three words of the text."""
    words = list(re.finditer(r"[^\W\d_]{4,}", text))
    draw = random.Random(text)
    others = []
    for match in draw.sample(words, min(3, len(words))):
        place = draw.randrange(match.start() + 1, match.end() - 2)
        others.append(text[:place] + text[place + 1] + text[place] + text[place + 2 :])
    return others


_CHANGES: dict[str, Callable[[str], list[str]]] = {
    "lower": lambda text: [text.lower()],
    "upper": lambda text: [text.upper()],
    "typos": _typos,
    "apostrophes": lambda text: [text.replace("'", "’")],
    "spaces": lambda text: [text.replace(" ", "  "), f"  {text}\n"],
}
