"""What a text is however it was typed: one spelling, whole words, and places that point back."""

from __future__ import annotations

import html
import itertools
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentiment.scorer.explain import token_spans
from sentiment.scorer.origins import origins
from sentiment.text.normal import normalize
from sentiment.text.scanning import scan
from sentiment.text.spec import PATTERNS, TextSpec, Tokenizer, clean
from sentiment.text.tokens import TokenTable

ALPHABET = (
    "ab'.x \n&;#39é\u0301\u0327\u200d\u200b\ufe0f’“—… \u3000İI\u0307ıΣςß"
    "हिन्दी" "ภาษาไทย" "日本語テキ中ｶﾞ" "각\u1100\u1161\u11a8" "👍🏽👩🚀🇫🇷🏴\U000e0067\U000e007f😀①ﬁ™"
)  # fmt: skip
TEXT = st.one_of(st.text(max_size=30), st.text(ALPHABET, max_size=30))
SPECS = st.builds(
    TextSpec,
    lowercase=st.booleans(),
    strip_html=st.booleans(),
    strip_accents=st.sampled_from([None, "unicode", "ascii"]),
    normalize=st.sampled_from([None, "nfc", "nfkc"]),
    max_repeats=st.sampled_from([None, 1, 3]),
    token_pattern=st.sampled_from([*PATTERNS, r"\S+"]),
)


def words(text, pattern="punctuation", **fields):
    return Tokenizer(TextSpec(token_pattern=pattern, normalize="nfc", **fields))(text)


@pytest.mark.parametrize(
    "written",
    ["don’t", "don&#39;t", "don&rsquo;t", "don&amp;#x27;t", "donʼt", "don\u00b4t", "do\u00adn't"],
)
def test_one_word_from_every_keyboard(written):
    assert words(f"I {written} like it") == ["i", "don't", "like", "it"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“so” – it… a\u00a0b", ['"', "so", '"', "-", "it", "...", "a", "b"]),
        ("&lt;br /&gt;x &amp; y &unknown; AT&T", [*"x&y&", "unknown", ";", "at", "&", "t"]),
        ("cafe\u0301", ["café"]),
        ("हिन्दी फ़िल्म अच्छी", ["हिन्दी", "फ़िल्म", "अच्छी"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("👍🏽 ❤\ufe0f👩\u200d🚀🇫🇷🇩🇪😀😀", ["👍🏽", "❤", "👩\u200d🚀", "🇫🇷", "🇩🇪", "😀", "😀"]),
        ("İstanbul", ["istanbul"]),
    ],
)
def test_words(text, expected):
    expected = [unicodedata.normalize("NFC", token) for token in expected]
    assert words(text, strip_html=True) == expected


def test_characters_of_languages_without_blanks_are_tokens():
    assert words("我喜欢 this電影！", "unsegmented") == [*"我喜欢", "this", *"電影！"]
    assert words("ดีมาก ok", "unsegmented") == ["ดี", "ม", "า", "ก", "ok"]


def test_repeated_letters_are_shortened():
    assert words("soooooo gooood... 10000", max_repeats=3) == ["sooo", "goood", "...", "10000"]


def test_an_older_spec_leaves_texts_as_they_are():
    old = TextSpec().to_dict()
    del old["normalize"], old["max_repeats"]
    assert clean("It’s &#39; cafe\u0301", TextSpec.from_dict(old)) == "it’s &#39; cafe\u0301"


@settings(max_examples=200, deadline=None)
@given(TEXT, st.sampled_from(["nfc", "nfkc"]))
def test_normalization_has_one_result(text, form):
    once = clean(text, TextSpec(normalize=form, lowercase=False))
    assert unicodedata.is_normalized(form.upper(), once)
    assert clean(unicodedata.normalize("NFD", once), TextSpec(normalize=form, lowercase=False)) == (
        clean(once, TextSpec(normalize=form, lowercase=False))
    )
    if "&" not in once:  # what was escaped twice is decoded once
        assert normalize(once, form) == once
        assert normalize(html.escape(once), form) == once


@settings(max_examples=400, deadline=None)
@given(st.lists(TEXT, max_size=4), SPECS)
@example(["\u0e31a\u0e31ก\u0e31'ก", "a'\u0e31b"], TextSpec(token_pattern="unsegmented"))
@example(["\u200d...\u200d\u200d.😀"], TextSpec(token_pattern="unsegmented"))
@example(["...🏽 ....🏽 🇫🇷🇩\u200d🇪🏽"], TextSpec(token_pattern="punctuation", normalize="nfc"))
def test_blocks_are_scanned_as_single_texts_are(texts, spec):
    tokenizer = Tokenizer(spec)
    expected = [tokenizer(text) for text in texts]
    spans = scan(texts, spec)
    table = TokenTable()
    ids = table.find(spans, grow=True)
    names = table.tokens()
    assert [names[i] for i in ids.tolist()] == list(itertools.chain.from_iterable(expected))
    assert spans.per_text.tolist() == [len(tokens) for tokens in expected]


@settings(max_examples=300, deadline=None)
@given(TEXT, SPECS)
def test_every_token_is_followed_back(text, spec):
    cleaned = clean(text, spec)
    places = origins(text, spec)
    assert len(places) == len(cleaned)
    assert all(0 <= start < end <= len(text) for start, end in places)
    assert places == sorted(places)
    assert len(token_spans(text, spec)) == len(Tokenizer(spec)(text))


def test_spans_point_into_the_text_as_given():
    text = "“I don&#39;t” cafe\u0301 👍🏽!"
    spans = token_spans(text, TextSpec(normalize="nfc", token_pattern="punctuation"))
    assert [text[a:b] for a, b in spans] == ["“", "I", "don&#39;t", "”", "cafe\u0301", "👍🏽", "!"]
