"""The page for people and the documentation, in a real browser."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pytest
from support.browser import needs_chromium

from sentiment.scorer.decision import Decision
from sentiment.store import set_pointer

TEXT = "The acting is wonderful and the music excellent, but the ending is a boring waste.\n\n  🎬 Bad!"

pytestmark = [
    pytest.mark.real,
    needs_chromium,
]


@pytest.fixture
def page(browser, server):
    """A page that fails the test on script errors and on requests to anywhere else."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    opened.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((server.url, "data:", "blob:"))
            else problems.append(request.url)
        ),
    )
    yield opened
    assert not problems
    context.close()


def classify(page, server, text: str = TEXT) -> None:
    page.goto(server.url)
    page.fill("#text", text)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#result:not([hidden])")


def test_a_text_gets_its_verdict_and_coloured_words(page, server):
    classify(page, server)
    expected = server.post("/explain", {"text": TEXT}).json()
    assert page.inner_text("#label") == expected["sentiment"]
    assert page.inner_text("#confidence").startswith(f"{100 * expected['confidence']:.1f}"[:3])
    assert page.evaluate("document.querySelector('#colored').textContent") == TEXT
    good = page.locator("mark.for").all_inner_texts()
    bad = page.locator("mark.against").all_inner_texts()
    assert any("wonderful" in word or "excellent" in word for word in good)
    assert any("waste" in word or "Bad" in word or "boring" in word for word in bad)
    first = page.locator("#for li").first.inner_text().split("\n")[0]
    strongest = max(expected["contributions"], key=lambda part: part["contribution"]["positive"])
    assert first.startswith(strongest["ngram"])


def test_the_numbers_add_up_and_people_may_answer(page, server):
    classify(page, server)
    shown = [float(cell.replace("−", "-")) for cell in page.locator("#sum td").all_inner_texts()]
    assert sum(shown[:-1]) == pytest.approx(shown[-1], abs=1e-9)
    label = page.inner_text("#label")
    said = page.inner_text("#meaning")
    assert page.inner_text(".bar.top :last-child") in said or label not in said
    before = server.metric("sentiment_feedback_total", result="recorded")
    page.get_by_role("button", name=f"Yes, {label}").click()
    page.wait_for_selector("#thanks:not(:empty)")
    assert server.metric("sentiment_feedback_total", result="recorded") == before + 1
    assert page.locator("#answers button").first.is_disabled()


def test_a_verdict_does_not_outlive_its_text_and_admits_doubt(page, server):
    classify(page, server, "Wonderful! The best film, excellent and great; I loved it. Perfect.")
    assert page.is_hidden("#unsure")
    page.fill("#text", " ")
    assert page.is_hidden("#result")
    classify(page, server, "qwxyz zzyzx")
    assert "knows no word" in page.inner_text("#unsure")
    assert "80.0 % of its test texts" in page.inner_text("#model")


def test_it_works_by_keyboard_alone_and_remembers(page, server):
    page.goto(server.url)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "text":
            break
    page.keyboard.type("Boring and bad.")
    for _ in range(2):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "go"
    page.keyboard.press("Enter")
    page.wait_for_selector("#result:not([hidden])")
    page.reload()
    page.click("#recent button >> nth=0")
    page.wait_for_selector("#result:not([hidden])")
    assert page.input_value("#text") == "Boring and bad."


def test_what_is_typed_is_never_markup(page, server):
    text = '<img src=x onerror="window.hacked=1"> <script>window.hacked=1</script> bad'
    classify(page, server, text)
    page.reload()
    assert page.evaluate("window.hacked") is None
    assert page.locator("#colored img, #recent img").count() == 0


def table_of(page) -> list[list[str]]:
    """Wait until every text is classified; return the rows that are shown."""
    page.wait_for_selector("#save:not([hidden])")
    rows = page.locator("#rows tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def test_each_line_is_a_text_when_asked_for(page, server):
    page.goto(server.url)
    page.fill("#text", "A wonderful film.\n\n  \nBoring, bad & <b>awful</b>.\n")
    page.get_by_label("Each of the 2 lines is a text of its own").check()
    page.click("#go")
    texts = ["A wonderful film.", "Boring, bad & <b>awful</b>."]
    expected = server.post("/predict/batch", {"texts": texts}).json()["predictions"]
    rows = table_of(page)
    assert [row[1:3] for row in rows] == [
        [text, one["sentiment"]] for text, one in zip(texts, expected, strict=True)
    ]
    assert page.is_hidden("#result")
    page.get_by_label("Each of the 2").uncheck()
    page.click("#go")
    page.wait_for_selector("#result:not([hidden])")
    assert page.is_hidden("#many")


FILE = 'id;Rating;"Re""view"\r\n1;5;"A wonderful; café film.\nI loved it."\r\n2;;\r\n3;1;Awful.\r\n'


@pytest.mark.parametrize("encoding", ["utf-8-sig", "windows-1252"])
def test_a_file_is_classified_and_comes_back(page, server, tmp_path, encoding):
    file = tmp_path / "reviews.of.may.csv"
    file.write_bytes(FILE.encode(encoding))
    page.goto(server.url)
    page.set_input_files("#file", file)
    rows = table_of(page)
    text = "A wonderful; café film.\nI loved it."
    first, third = server.post("/predict/batch", {"texts": [text, "Awful."]}).json()["predictions"]
    assert [row[2] for row in rows] == [first["sentiment"], "no text", third["sentiment"]]
    assert page.locator("#column option:checked").inner_text() == 'Re"view'
    with page.expect_download() as download:
        page.click("#save")
    assert download.value.suggested_filename == "reviews.of.may.scored.csv"
    with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as opened:
        found = list(csv.DictReader(opened))
    assert [row["id"] for row in found] == ["1", "2", "3"]
    assert found[0]['Re"view'] == text
    assert float(found[2]["probability_negative"]) == third["probabilities"]["negative"]
    assert (found[0]["label"], found[1]["label"]) == (first["sentiment"], "")
    assert found[1]["note"] == "no text"
    page.select_option("#column", label="id")  # no word is known: another verdict, another table
    page.locator("#rows td:nth-child(2)", has_text="1").first.wait_for()
    assert table_of(page)[0][1] == "1"


def test_a_file_is_dropped_and_a_long_one_is_told_in_full(page, server):
    page.goto(server.url)
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            const lines = Array.from({length: 250}, (_, at) => `A good film, number ${at}.`);
            data.items.add(new File([lines.join("\\n")], "lines.txt"));
            document.body.dispatchEvent(
                new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        }"""
    )
    assert len(table_of(page)) == 100
    assert page.inner_text("#many-title") == "lines.txt: 250 texts"
    assert "all 250" in page.inner_text("#more")
    assert sum(map(int, re.findall(r"\d+", page.inner_text("#counts")))) == 250
    page.click("#clear")
    assert page.is_hidden("#many")


@pytest.mark.slow
def test_a_label_that_is_withheld_is_no_verdict(browser, train, server_class, tmp_path):
    stored = train(tmp_path, 10.0, decision=Decision(min_confidence=0.9))
    set_pointer(tmp_path, "champion", stored.digest, source="promote")
    dull, bad = "Dull, but some of the acting is good.", "Awful, boring, the worst waste of time."
    server = server_class(tmp_path).ready()
    page = browser.new_page()
    try:
        answers = server.post("/predict/batch", {"texts": [dull, bad]}).json()["predictions"]
        assert [answer["sentiment"] for answer in answers] == [None, "negative"]
        would_be = answers[0]["would_be"]
        classify(page, server, dull)
        assert f"It would be {would_be}." in page.inner_text("#unsure")
        classify(page, server, bad)
        assert page.is_hidden("#unsure")
        file = tmp_path / "two.csv"
        file.write_text(f'text\n"{dull}"\n"{bad}"\n')
        page.set_input_files("#file", file)
        assert [row[2] for row in table_of(page)] == [f"abstained, would be {would_be}", "negative"]
        with page.expect_download() as download:
            page.click("#save")
        with Path(download.value.path()).open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened))
        assert [(row["label"], row["note"], row["would_be"]) for row in rows] == [
            ("", "abstained", would_be),
            ("negative", "", ""),
        ]
    finally:
        page.close()
        server.stop()
        server.forget()


def test_a_link_tells_the_verdict_without_the_text(page, browser, server):
    classify(page, server)
    label = page.inner_text("#label")
    page.click("#link")
    page.wait_for_selector("#linked a")
    url = page.url
    assert url == page.get_attribute("#linked a", "href")
    page = browser.new_page()  # of somebody else
    page.goto(url)
    page.wait_for_selector("#past:not([hidden])")
    assert page.inner_text("#past-label") == label
    assert TEXT.split(",", maxsplit=1)[0] not in page.inner_text("body")
    before = server.metric("sentiment_feedback_total", result="recorded")
    page.get_by_role(
        "button", name=f"No, {'negative' if label == 'positive' else 'positive'}"
    ).click()
    page.wait_for_selector("#thanks:not(:empty)")
    assert server.metric("sentiment_feedback_total", result="recorded") == before + 1
    page.goto(f"{server.url}/#{url.rpartition('#')[2][:-1]}A")
    page.wait_for_selector("#problem:not([hidden])")
    page.close()


def tree_of(page) -> list[tuple[str, str]]:
    """What a screen reader is told: role and name of all that is not left out."""
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node["ignored"]
    ]


def test_a_screen_reader_is_told_everything(page, server):
    classify(page, server)
    tree = tree_of(page)
    label = page.inner_text("#label")
    assert {
        ("textbox", "Your text"),
        ("button", "Classify"),
        ("link", "Skip to the text box"),
        ("heading", "What made the verdict"),
        ("progressbar", f"probability of {label}"),
        ("rowheader", "before any word (intercept)"),
        ("group", "Was this right?"),
        ("button", f"Yes, {label}"),
        ("checkbox", "Keep my text too, for the model to learn from"),
        ("button", "Link to this verdict, without the text"),
    } <= set(tree)
    assert any(role == "button" and name.startswith("Or a file") for role, name in tree)
    named = {
        "button",
        "textbox",
        "link",
        "checkbox",
        "progressbar",
        "combobox",
        "heading",
        "region",
    }
    assert not [role for role, name in tree if role in named and not name]
    page.fill("#text", "Good.\nBad.")
    page.check("#lines")
    page.click("#go")
    table_of(page)
    tree = tree_of(page)
    assert [name for role, name in tree if role == "columnheader"] == [
        *("#", "Text", "Verdict", "Probability"),
    ]
    assert ("region", "Your texts: 2 texts") in tree


def test_colours_of_the_system_lose_nothing(browser, server):
    context = browser.new_context(forced_colors="active")
    page = context.new_page()
    classify(page, server)
    style = "mark => getComputedStyle(mark).textDecorationStyle"
    bar = page.locator(".bar.top progress")
    assert bar.evaluate("bar => getComputedStyle(bar).borderTopWidth") == "1px"
    lines = [page.locator(f"mark.{side}").first.evaluate(style) for side in ("for", "against")]
    assert lines == ["solid", "wavy"]
    _picture(page, "forced")
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1400])
def test_it_fits_every_screen_in_light_and_dark(browser, server, width):
    context = browser.new_context(viewport={"width": width, "height": 844}, is_mobile=width < 700)
    page = context.new_page()
    classify(page, server, TEXT + " " + "longword" * 30)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        _fits(page, width)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        bright = sum(int(part) for part in ground.strip("rgb()").split(",")) > 3 * 128
        assert bright is (scheme == "light")
        _picture(page, f"{width}-{scheme}")
    page.check("#lines")
    page.click("#go")
    table_of(page)
    _fits(page, width)
    _picture(page, f"{width}-many")
    context.close()


def _fits(page, width: int) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def _picture(page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_errors_are_shown_and_a_key_is_asked_for(browser, serve, store):
    server = serve(store, api_keys="only-key-0123456789", max_text_length=50).ready()
    page = browser.new_page()
    page.goto(server.url)
    page.wait_for_selector("#key-row:not([hidden])")
    page.fill("#text", "Fine.")
    page.click("#go")
    page.wait_for_selector("#problem:not([hidden])")
    assert "API key" in page.inner_text("#problem")
    page.fill("#key", "only-key-0123456789")
    page.click("#go")
    page.wait_for_selector("#result:not([hidden])")
    page.fill("#text", "x" * 51)
    page.click("#go")
    page.wait_for_selector("#problem:not([hidden])")
    assert "50 characters" in page.inner_text("#problem")
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "selector"), [("docs", ".opblock-summary"), ("redoc", "[data-section-id]")]
)
def test_the_documentation_renders_without_the_internet(browser, server, path, selector):
    page = browser.new_page()
    failed: list[str] = []
    page.on(
        "requestfinished",
        lambda request: (
            failed.append(request.url)
            if server.url not in request.url and request.url.startswith("http")
            else None
        ),
    )
    page.goto(f"{server.url}/{path}")
    page.wait_for_selector(selector)
    assert page.locator(selector).count() > 10
    assert not failed
    page.close()


@pytest.mark.slow
def test_the_documentation_can_try_a_request(browser, server):
    page = browser.new_page()
    page.goto(f"{server.url}/docs")
    block = page.locator(".opblock-post").first
    block.locator(".opblock-summary").click()
    block.locator("button.try-out__btn").click()
    block.locator("button.execute").click()
    status = block.locator(".live-responses-table td.response-col_status", has_text="200")
    status.wait_for()
    assert "confidence" in block.locator(".live-responses-table").inner_text()
    page.close()
