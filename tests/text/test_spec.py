"""What a token is: patterns, cleaning, hashes, and the block scanner that must agree with them."""

import itertools
import json
import re
import sys
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentiment.text.hashing import combine_hashes, hash_columns, hash_ngrams, hash_tokens
from sentiment.text.scanning import scan
from sentiment.text.spec import (
    PATTERNS,
    TextSpec,
    Tokenizer,
    clean,
    compile_pattern,
    spaced,
    word_ranges,
)
from sentiment.text.tokens import KeyTable, TokenTable

# Letters, marks and signs at which engines differ: apostrophes, dots, NUL, ideographs, emoji with
# joiners, Turkish i's, final sigma, lone surrogates, spaces of all kinds, unassigned characters.
ALPHABET = (
    "aZé_09'’.!?-<>/ \n\t"
    "\x00\x1c\x85\u00a0\u3000\u0301\u200d中文字👍🏽İıΣσςǅß²½Ⅷ\ud800\udfff\ufffd\u0378"
)
TEXTS = st.lists(
    st.one_of(
        st.text(ALPHABET, max_size=60),
        st.text(max_size=20),
        st.text("ab '.", max_size=200),
        st.sampled_from(
            ["", " ", "x" * 3000, "中" * 100, "don't...... stop!!", "<br />It's <b>ok</b>"]
        ),
    ),
    max_size=8,
)


def test_named_patterns():
    text = "Don't stop... I say: it’s 'ok'!?"
    assert {name: Tokenizer(TextSpec(token_pattern=name))(text) for name in PATTERNS} == {
        "word": ["don", "stop", "say", "it", "ok"],
        "letter": ["don", "t", "stop", "i", "say", "it", "s", "ok"],
        "apostrophe": ["don't", "stop", "i", "say", "it’s", "ok"],
        "punctuation": ["don't", "stop", "...", "i", "say", ":", "it’s", "'", "ok", "'", "!", "?"],
        "unsegmented": ["don't", "stop", "...", "i", "say", ":", "it’s", "'", "ok", "'", "!", "?"],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A<br />B", "a b"),
        ("a < b and <3 and x>y", "a < b and <3 and x>y"),
        ("<i>so</i> <b", " so  <b"),
        ("x\ud83dy", "x\ufffdy"),
        ("ΟΔΟΣ İ", "οδος i̇"),
    ],
)
def test_clean(text, expected):
    assert clean(text, TextSpec(strip_html=True)) == expected


def test_strip_accents():
    assert clean("Café ǅ ①", TextSpec(strip_accents="unicode")) == "cafe dz 1"
    assert clean("Café 中 x", TextSpec(strip_accents="ascii")) == "cafe  x"


def test_word_characters_are_letters_numbers_and_underscore():
    """The definition that every engine can share, for each character that Unicode has assigned."""
    words = {p for first, last in word_ranges() for p in range(first, last + 1)}
    for point in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(point))
        assert (point in words) == (category[0] in "LN" or point == ord("_"))


def test_spec_survives_json():
    spec = TextSpec(stop_words=("a", "the"), ngram_range=(1, 3), token_pattern=r"\S+")
    assert TextSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert TextSpec.from_dict(TextSpec().to_dict()) == TextSpec()


@pytest.mark.parametrize("pattern", ["(", "(a)(b)", "[z-a]"])
def test_bad_pattern_names_the_parameter(pattern):
    with pytest.raises(ValueError, match="token_pattern"):
        compile_pattern(pattern)


def test_one_group_selects_the_token():
    assert Tokenizer(TextSpec(token_pattern=r"#(\w+)"))("#a b #c") == ["a", "c"]


@pytest.mark.parametrize("pattern", PATTERNS)
@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(
        st.text(st.characters(max_codepoint=127), max_size=80),
        st.text("ab_0 '.\"-\n", max_size=80),
    )
)
@example(text="'tis 'a'b' a''b '' .... ...' '... don't. 'n'")
@example(text="".join(map(chr, range(128))))
def test_ascii_text_is_split_as_its_pattern_matches(pattern, text):
    assert Tokenizer(TextSpec(token_pattern=pattern, lowercase=False))(text) == re.findall(
        PATTERNS[pattern], text
    )


@pytest.mark.parametrize("pattern", [*PATTERNS, r"(?u)\b\w\w+\b", r"\S+", r"\w*", r"[^\n]"])
@settings(max_examples=30, deadline=None)
@given(
    texts=TEXTS,
    lowercase=st.booleans(),
    html=st.booleans(),
    accents=st.sampled_from([None, "unicode", "ascii"]),
)
@example(
    texts=["a\x00", "\x00", "'a'", "a'", "'", "..", "....", "a’", "’’b’c"],
    lowercase=True,
    html=True,
    accents=None,
)
# What is left of these without accents has capitals.
@example(texts=["Film™ №5", "𝒳 CAFÉ"], lowercase=True, html=False, accents="unicode")
def test_blocks_are_scanned_as_single_texts_are(pattern, texts, lowercase, html, accents):
    spec = TextSpec(
        token_pattern=pattern, lowercase=lowercase, strip_html=html, strip_accents=accents
    )
    tokenizer = Tokenizer(spec)
    expected = [tokenizer(text) for text in texts]
    spans = scan(texts, spec)
    table = TokenTable()
    ids = table.find(spans, grow=True)
    names = table.tokens()
    assert [names[i] for i in ids.tolist()] == list(itertools.chain.from_iterable(expected))
    assert spans.per_text.tolist() == [len(tokens) for tokens in expected]
    assert len(set(names)) == len(names)
    known = TokenTable(names[::2])
    for i, found in zip(ids.tolist(), known.find(spans).tolist(), strict=True):
        assert found == (i // 2 if i % 2 == 0 else -1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(1, 4)), unique=True, max_size=300))
def test_key_table(pairs):
    keys = np.array(pairs, np.uint64).reshape(-1, 2).T
    table = KeyTable(2)
    for i in range(0, keys.shape[1], 50):
        table.add(keys[:, i : i + 50])
    assert (table.find(keys) == np.arange(keys.shape[1])).all()
    assert (table.keys() == keys).all()
    absent = keys ^ np.array([[0], [8]], np.uint64)
    assert (table.find(absent) == -1).all()


def test_token_hashes_are_pinned():
    """Models trained by an older release must find their columns."""
    tokens = ["a", "", "don't", "é" * 40, "\0", "longer than eight"]
    assert hash_tokens(tokens).tolist() == [
        2986390043289567946,
        16294208416658607535,
        10278342640495725419,
        5667489514333222579,
        16490336266968443936,
        7302261315503655014,
    ]
    assert (hash_tokens(tokens) == [hash_tokens([token])[0] for token in tokens]).all()
    assert hash_tokens([]).shape == (0,)


def test_ngram_hashes_are_ordered_and_spread():
    a, b = hash_tokens(["not", "good"])
    assert combine_hashes(a[None], b[None]) != combine_hashes(b[None], a[None])
    hashes = hash_tokens([str(i) for i in range(100_000)])
    assert len(np.unique(hashes)) == 100_000
    columns, signs = hash_columns(hashes, 1000)
    assert columns.min() == 0
    assert columns.max() == 999
    assert abs(np.bincount(columns).std() - 10) < 1  # Poisson with mean 100
    assert abs(signs.mean()) < 0.02


@pytest.mark.parametrize("analyzer", ["word", "char", "char_wb"])
@pytest.mark.parametrize("ngram_range", [(1, 1), (1, 3), (3, 4), (6, 7)])
@settings(max_examples=15, deadline=None)
@given(texts=TEXTS)
def test_as_many_hashed_ngrams_as_scikit_learn_has(analyzer, ngram_range, texts):
    from sklearn.feature_extraction.text import CountVectorizer

    texts = [clean(text, TextSpec()) for text in texts]
    analyze = CountVectorizer(analyzer=analyzer, ngram_range=ngram_range).build_analyzer()
    spec = TextSpec(analyzer=analyzer, ngram_range=ngram_range)
    tokenizer = Tokenizer(spec)
    for text in texts:
        tokens = tokenizer(text)
        _, hashes = hash_ngrams(hash_tokens(tokens), np.zeros(len(tokens), np.int32), spec)
        expected = sorted(Counter(analyze(text)).values())
        assert sorted(Counter(hashes.tolist()).values()) == expected


def test_spaced():
    assert spaced("a \n b\tc ", TextSpec(analyzer="char")) == "a b\tc "
    assert spaced(" a \n b ", TextSpec(analyzer="char_wb")) == " a  b "
    assert spaced(" \n ", TextSpec(analyzer="char_wb")) == ""
