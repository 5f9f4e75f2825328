"""The page for people and the documentation, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.browser import needs_chromium

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


def test_it_fits_a_phone_in_light_and_dark(browser, server):
    for scheme in ("light", "dark"):
        context = browser.new_context(
            viewport={"width": 390, "height": 844}, color_scheme=scheme, is_mobile=True
        )
        page = context.new_page()
        classify(page, server, TEXT + " " + "longword" * 30)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        bright = sum(int(part) for part in ground.strip("rgb()").split(",")) > 3 * 128
        assert bright is (scheme == "light")
        if folder := os.environ.get("SENTIMENT_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"phone-{scheme}.png", full_page=True)
        context.close()


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
