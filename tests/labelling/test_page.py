"""The page to label on, in a real browser, beside a real process."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.browser import needs_chromium
from support.reviews import shuffled
from support.waiting import wait_for
from support.web import HTTP

SCREENSHOTS = os.environ.get("SENTIMENT_SCREENSHOTS")  # tests do not see the caller's variables

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    needs_chromium,
]


class Labelling:
    """A running ``sentiment label``."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.output = folder / "labelled.jsonl"
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sentiment", "label", "--input", str(folder / "pool.jsonl"),
                 "--labels", "negative,positive", "--output", str(self.output), "--port", "0", *words],
                stderr=log, stdout=log, cwd=folder, start_new_session=True,
            )  # fmt: skip
        self.url = wait_for(
            lambda: (found := re.search(r"open (http://\S+)", self.log.read_text())) and found[1]
        )

    def rows(self):
        return [json.loads(line) for line in self.output.read_text().splitlines()]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def start(tmp_path):
    rows = shuffled(11)[:200]
    lines = [json.dumps({"text": f"{text} 🎬"}) for text, _ in rows]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines) + "\n")
    running = []

    def begin(*words):
        running.append(Labelling(tmp_path, *words))
        return running[-1]

    yield begin
    for one in running:
        one.kill()


def opened(browser, url, **context):
    page = browser.new_context(**context).new_page()
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(url)
    page.wait_for_function("() => document.querySelector('#text').textContent.length > 0")
    return page


def press(page, key):
    before = page.inner_text("#text")
    page.keyboard.press(key)
    page.wait_for_function(
        "before => document.querySelector('#text').innerText !== before", arg=before
    )


def shot(page, name):
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


def test_keys_label_skip_and_take_back_and_words_are_coloured_once_it_has_learned(browser, start):
    service = start("--batch", "5")
    page = opened(browser, service.url)
    page.fill("#annotator", "Ann")
    page.keyboard.press("Enter")
    first = page.evaluate("document.querySelector('#text').textContent")
    press(page, "1")
    press(page, "2")
    press(page, "u")
    press(page, "s")
    assert [row["label"] for row in service.rows()] == ["negative", "positive", None, None]
    assert [row["status"] for row in service.rows()][2:] == ["unsure", "skipped"]
    assert service.rows()[0]["text"] == first
    assert service.rows()[0]["annotator"] == "Ann"
    press(page, "z")
    assert len(service.rows()) == 3
    page.keyboard.press("n")
    page.keyboard.type("a note with 1 and 2")  # typed, not answered
    page.keyboard.press("Enter")
    press(page, "1")
    assert service.rows()[-1]["note"] == "a note with 1 and 2"
    for number in range(24):
        text = page.inner_text("#text").lower()
        press(page, "1" if "bad" in text or "worst" in text or number % 3 == 0 else "2")
    page.wait_for_function(
        "() => document.querySelector('#estimate').textContent.includes('answers;')",
        timeout=60_000,
    )
    page.reload()
    page.wait_for_selector("#text mark")
    assert page.evaluate("document.querySelector('#text').textContent").endswith("🎬")
    assert "Guess" in page.inner_text("#guess")
    shot(page, "label-desk")
    assert not page.problems
    page.context.close()


def test_two_windows_have_different_texts_and_a_kill_loses_nothing(browser, start):
    service = start()
    one, two = opened(browser, service.url), opened(browser, service.url)
    assert one.inner_text("#text") != two.inner_text("#text")
    for key in "1212":
        press(one, key)
        press(two, key)
    confirmed = [row["text"] for row in service.rows()]
    assert len(confirmed) == len(set(confirmed)) == 8
    service.kill()
    one.keyboard.press("1")
    one.wait_for_selector("#problem:not([hidden])")
    assert "does not answer" in one.inner_text("#problem")
    with service.output.open("a") as file:
        file.write('{"text": "half of a li')
    again = start()
    page = opened(browser, again.url)
    assert "8 answers" in page.inner_text("#progress")
    press(page, "2")
    assert [row["text"] for row in again.rows()][:8] == confirmed
    assert len(again.rows()) == 9
    for each in (one, two, page):
        each.context.close()


def test_it_fits_a_phone_in_light_and_dark(browser, start):
    service = start()
    for scheme in ("light", "dark"):
        page = opened(
            browser, service.url, viewport={"width": 390, "height": 844}, color_scheme=scheme,
            is_mobile=True,
        )  # fmt: skip
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.click("#labels button >> nth=0")
        page.wait_for_function(
            "() => /[1-9] answers/.test(document.querySelector('#progress').textContent)"
        )
        shot(page, f"label-phone-{scheme}")
        page.context.close()


def test_elsewhere_a_token_is_asked_for_and_here_another_name_is_refused(start):
    service = start("--host", "0.0.0.0")
    address, _, token = service.url.partition("?token=")
    address = address.replace("0.0.0.0", "127.0.0.1")
    assert HTTP.get(f"{address}api/state").status_code == 401
    assert HTTP.get(f"{address}api/state", headers={"x-token": "no"}).status_code == 401
    assert HTTP.get(f"{address}api/state", headers={"x-token": token}).status_code == 200
    service.kill()
    local = start()
    found = HTTP.get(f"{local.url}api/state", headers={"host": "evil.example"})
    assert found.status_code == 400
    assert HTTP.get(f"{local.url}api/state").status_code == 200
