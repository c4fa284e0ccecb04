"""The page /pool in Chromium, before the demo as it runs on one machine: the articles' test, by its buttons.

python -m tests.integration.test_demo_browser      makes the pictures of docs/images anew
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

from memsession.demo.stage import WEB_SERVERS, Stage

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PATIENCE_MS = 30_000
WIDTHS = (1280, 390)
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
BUNDLES = ("Chromium.app/Contents/MacOS/Chromium", "Google Chrome.app/Contents/MacOS/Google Chrome")
FOUND = [
    *(path for name in NAMES if (path := shutil.which(name))),
    *(str(path) for bundle in BUNDLES if (path := Path("/Applications", bundle)).exists()),
]

pytestmark = pytest.mark.skipif(
    not FOUND, reason="no Chromium is installed (on Debian scripts/test installs it): the page is not looked at"
)


@contextmanager
def staged() -> Iterator[Stage]:
    """A demo that runs beside the test, for Playwright wants this thread for itself."""
    stage, ready, over = Stage(), threading.Event(), threading.Event()
    failures: list[BaseException] = []

    async def play() -> None:
        async with stage:
            ready.set()
            await asyncio.to_thread(over.wait)

    def run() -> None:
        try:
            asyncio.run(play())
        except BaseException as failure:  # noqa: BLE001 - it is raised where it is heard
            failures.append(failure)
        finally:
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        if not failures:
            yield stage
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    options = ["--disable-gpu", "--disable-dev-shm-usage", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=FOUND[0], args=options)
        yield browser
        browser.close()


class Watched:
    """The page, opened by a new visitor, and what its console said."""

    def __init__(
        self, browser: Browser, url: str, *, before: Callable[[Page], object] = lambda page: None, **look
    ) -> None:
        self.said: list[str] = []
        self._context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900}, **look)
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"raised: {error}"))
        before(self.page)
        self.page.goto(url)

    def close(self) -> None:
        self.page.unroute_all(behavior="ignoreErrors")
        self._context.close()

    def card(self, name: str) -> Locator:
        return self.page.locator(f".card[data-name='{name}']")

    def press(self, verb: str, name: str) -> None:
        self.card(name).locator(f"button[data-verb={verb}]").click()

    def await_state(self, name: str, *states: str) -> None:
        expect(self.card(name)).to_have_attribute("data-exact", re.compile("|".join(states)))

    def await_copies(self, text: str) -> None:
        expect(self.page.locator("#copies")).to_have_text(text)

    def await_copy(self, name: str, *states: str) -> None:
        copy = self.card(name).locator(".copy")
        expect(copy).to_have_attribute("data-copy", re.compile("|".join(states)))

    def await_visits(self, more: int = 3) -> None:
        """Until so many more visits have been answered."""
        wanted = int(self.figure("answered")) + more
        self.page.wait_for_function(
            "wanted => Number(document.getElementById('summary').dataset.answered) >= wanted",
            arg=wanted,
            timeout=PATIENCE_MS,
        )

    def leave_visits(self) -> Locator:
        """Switch off the page's own visits, until the last has been answered; what switches them on again."""
        automatic = self.page.get_by_role("checkbox", name="once a second by itself")
        automatic.uncheck()
        expect(self.page.locator("body")).to_have_attribute("data-waiting", "0")
        return automatic

    def figure(self, name: str) -> str:
        return self.page.locator("#summary").get_attribute(f"data-{name}") or ""

    def counts(self) -> list[str]:
        return self.page.locator("#history li .number").all_text_contents()

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def stage() -> Iterator[Stage]:
    with staged() as stage:
        yield stage


@pytest.fixture
def watched(browser, stage) -> Iterator[Watched]:
    watched = Watched(browser, stage.page_url)
    yield watched
    watched.close()


def heal(watched: Watched) -> None:
    """Until both copies are there again, and alike."""
    for name in ("a", "b"):
        watched.await_state(name, "up")
        watched.await_copy(name, "live")
    expect(watched.page.locator("#copies")).to_have_text(re.compile("2 of 2: .*, alike"))


def test_the_articles_test_by_its_buttons(watched):
    """Each memcached is stopped, hung, emptied, and a web server is killed: every visit is answered, none is lost.

    The counts in the strip have no gap and no repeat, and the browser's console has nothing to say.
    """
    watched.await_visits()
    heal(watched)

    watched.press("stop", "a")
    watched.await_state("a", "refused")
    watched.await_copies("1 of 2: on b")
    watched.await_visits()

    watched.press("start", "a")
    heal(watched)
    watched.press("kill", "b")
    watched.await_state("b", "refused")
    watched.await_copies("1 of 2: on a")
    watched.await_visits()

    watched.press("start", "b")
    heal(watched)
    watched.press("hang", "b")
    watched.await_state("b", "hangs")
    watched.await_copy("b", "silent")
    watched.await_visits()

    watched.press("continue", "b")
    heal(watched)
    watched.press("empty", "a")
    expect(watched.card("a").get_by_role("status")).to_have_text("a is empty now.")
    watched.await_visits()
    heal(watched)

    # Not in the middle of a visit, which the proxy would ask for again, counted or not.
    automatic = watched.leave_visits()
    watched.press("kill", "web-1")
    watched.await_state("web-1", "ended")
    automatic.check()
    watched.await_visits()
    watched.press("start", "web-1")
    watched.await_state("web-1", "runs")
    watched.await_visits()

    counts = [int(count) for count in watched.counts()]
    assert counts == list(range(counts[0], counts[0] + len(counts)))
    assert (watched.figure("failed"), watched.figure("lost")) == ("0", "0")
    assert watched.page.locator("#history li.wrong").count() == 0
    assert watched.said == []


def test_the_web_servers_take_turns_with_the_visits(watched):
    """Also while the page looks, whose requests the proxy hands out in turn, too."""
    watched.await_visits(8)

    marks = watched.page.locator("#history li .mark").all_text_contents()
    assert min(marks.count("1"), marks.count("2")) >= len(marks) // 4


def test_what_goes_wrong_is_shown(browser, stage):
    """A count that fell back is shown as so many visits lost, one that jumped as more counted; and what failed."""
    text = "This server has seen you {} times\nServer IP: 127.0.0.1:1 (web-1)\n"
    unavailable = {"status": 503, "content_type": "text/plain", "body": "..."}
    gone = {"status": 503, "content_type": "text/html", "body": "..."}
    answers = [*({"body": text.format(number)} for number in (4, 5, 2, 7)), unavailable, gone, {"body": "no counter"}]

    def as_it_comes(route: Route) -> None:
        if answers:
            route.fulfill(**answers.pop(0))
        else:
            route.abort()

    watched = Watched(browser, stage.page_url, before=lambda page: page.route("**/session.php", as_it_comes))
    summary = watched.page.locator("#summary")
    expect(summary).to_contain_text(re.compile("4 visits answered, [4-9] without an answer, 4 lost"))

    cells = watched.page.locator("#history li")
    wrong = [bool(re.search("wrong", cells.nth(at).get_attribute("class") or "")) for at in range(8)]
    assert [cells.nth(at).locator(".number").inner_text() for at in range(4)] == ["5", "6", "3", "8"]
    assert wrong == [False, False, True, False, True, True, True, True]
    assert "4 more were counted" in summary.inner_text()
    assert cells.nth(4).get_attribute("title") == "not counted: no memcached"
    watched.close()


def test_what_is_asked_of_a_hung_web_server_goes_to_the_other(watched):
    """Its visit takes longer, and none is left without an answer; the page shows who hangs, also of itself."""
    watched.await_visits()

    watched.press("hang", "web-2")
    watched.await_state("web-2", "hangs")
    watched.await_visits()
    watched.press("continue", "web-2")
    watched.await_state("web-2", "runs")
    watched.await_visits()

    assert (watched.figure("failed"), watched.figure("lost")) == ("0", "0")
    assert watched.said == []


def test_the_buttons_work_after_all_memcached_are_stopped(watched):
    """The page says that visits are not counted, and starts what it stopped."""
    watched.await_visits(1)
    for name in ("a", "b"):
        watched.press("stop", name)
        watched.await_state(name, "refused")
    message = watched.page.locator("#message")
    expect(message).to_have_text(re.compile("No memcached of your session answers"))
    assert watched.page.reload() is not None
    expect(message).to_have_text(re.compile("No memcached of your session answers"))

    for name in ("a", "b"):
        watched.press("start", name)
        watched.await_state(name, "up")
    watched.await_visits()
    expect(message).to_have_text("")


def test_the_last_web_server_is_not_stopped(watched):
    """The page says why, in a sentence, and goes on."""
    watched.await_visits(1)
    watched.press("stop", "web-2")
    watched.await_state("web-2", "ended")

    watched.press("stop", "web-1")

    expect(watched.card("web-1").get_by_role("status")).to_have_text(re.compile("is the last web server"))
    watched.await_visits()


def test_a_page_that_nobody_answers_says_so_and_goes_on(watched, stage):
    """No longer than that; what was under way is not shown as an error of the browser's."""
    watched.await_visits(1)
    watched.page.route("**/*", lambda route: route.abort())
    message = watched.page.locator("#message")
    expect(message).to_have_text("No web server answers; trying again.")

    watched.page.unroute("**/*")

    expect(message).to_have_text("")
    watched.await_visits(1)


def test_without_a_demo_to_obey_there_is_a_hint_and_no_button(browser, stage):
    """In containers the page says what to type; that a web server is gone it learns from its silence."""

    def as_elsewhere(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "control": None, "hint": "docker compose kill ..."})

    watched = Watched(browser, stage.page_url, before=lambda page: page.route("**/pool/state", as_elsewhere))
    for name in WEB_SERVERS:
        watched.await_state(name, "seen")
    os.kill(stage.children["web-2"].pid, signal.SIGKILL)
    watched.await_state("web-2", "unseen")
    watched.await_visits(1)

    expect(watched.page.locator("#hint")).to_have_text("docker compose kill ...")
    assert watched.page.get_by_role("button").all_text_contents() == ["Visit"]
    assert watched.page.locator("[data-name=web-1]").get_attribute("data-exact") == "seen"
    watched.close()


def test_visits_can_be_left_to_the_visitor(watched):
    """Without visits of its own the page goes on looking, which counts nothing; the button makes one visit."""
    page = watched.page
    watched.await_visits(1)
    watched.leave_visits()
    looked = "() => Number(document.body.dataset.looked || 0)"  # a first visit may be quicker than the first look
    before = int(page.locator("#count").inner_text())
    page.wait_for_function("since => Number(document.body.dataset.looked) >= since", arg=page.evaluate(looked) + 2)
    assert int(page.locator("#count").inner_text()) == before

    page.get_by_role("button", name="Visit").click()

    expect(page.locator("#count")).to_have_text(str(before + 1))


def test_everything_can_be_reached_and_done_by_keyboard(watched):
    """Tab comes to each control in the order in which they are seen, visibly; the focus survives what it did."""
    page = watched.page
    watched.await_visits(1)
    heal(watched)
    wanted = page.locator("button:visible, input:visible, a[href]:visible").count()
    reached = []
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "() => [document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
                " || document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]"
            )
        )

    names = [name for name, _ in reached]
    assert len(set(names)) == wanted
    assert {outline for _, outline in reached} == {"solid"}
    assert names[:6] == ["Visit", "automatic", "Stop a", "Kill a", "Hang a", "Empty a"]

    page.get_by_role("button", name="Stop a").focus()
    page.keyboard.press("Enter")
    watched.await_state("a", "refused")
    expect(page.get_by_role("button", name="Start a")).to_be_focused()
    page.keyboard.press("Enter")
    watched.await_state("a", "up")
    expect(page.get_by_role("button", name="Stop a")).to_be_focused()


def contrasts(page: Page) -> list[tuple[float, str]]:
    """The contrast of each text with what is behind it (WCAG 2.2, 1.4.3), and the text."""
    return page.evaluate(
        """() => {
          const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
          const light = (colour) => {
            const [r, g, b] = parts(colour).map((part) => {
              const c = part / 255;
              return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const behind = (element) => {
            for (let one = element; one; one = one.parentElement) {
              const colour = getComputedStyle(one).backgroundColor;
              if (!/, 0\\)$/.test(colour)) return colour;
            }
            return "rgb(255, 255, 255)";
          };
          return [...document.body.querySelectorAll("*")]
            .filter((one) => one.checkVisibility() && [...one.childNodes].some((node) => node.nodeType === 3
              && node.textContent.trim()))
            .map((one) => {
              const pair = [light(getComputedStyle(one).color), light(behind(one))].sort((x, y) => y - x);
              return [(pair[0] + 0.05) / (pair[1] + 0.05), one.textContent.trim()];
            });
        }"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_can_be_read_on_a_screen_and_on_a_phone(browser, stage, scheme):
    """Nothing is wider than the window, and no text is faint, all well or with servers that are stopped or hang."""
    watched = Watched(browser, stage.page_url, color_scheme=scheme)
    page = watched.page
    watched.await_visits(2)
    heal(watched)
    looks = []
    for verb, name, state in (("", "", ""), ("stop", "a", "refused"), ("hang", "web-2", "hangs")):
        if verb:
            watched.press(verb, name)
            watched.await_state(name, state)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            looks.append((watched.overflow(), [text for contrast, text in contrasts(page) if contrast < 4.5]))
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    watched.close()

    assert looks == [(0, [])] * len(looks)
    assert (sum(map(int, re.findall(r"\d+", background))) > 384) == (scheme == "light")


# --- pictures --------------------------------------------------------------------------------------------------


def _pictures(watched: Watched, name: str) -> None:
    for width in WIDTHS:
        watched.page.set_viewport_size({"width": width, "height": 900})
        watched.page.mouse.move(0, 0)
        watched.page.screenshot(path=IMAGES / f"pool-{name}-{width}.png", full_page=True)
    watched.page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def main() -> None:
    """Take the pictures of three states, and make them small."""
    IMAGES.mkdir(exist_ok=True)
    with staged() as stage, chromium() as browser:
        watched = Watched(browser, stage.page_url)
        watched.await_visits(20)
        heal(watched)
        _pictures(watched, "well")
        watched.press("kill", "a")
        watched.await_state("a", "refused")
        watched.await_visits(8)
        _pictures(watched, "one-stopped")
        watched.press("start", "a")
        heal(watched)
        watched.press("kill", "web-2")
        watched.await_state("web-2", "ended")
        watched.await_visits(8)
        _pictures(watched, "healed")
        watched.close()
    subprocess.run(["pngquant", "--strip", "--force", "--ext", ".png", *IMAGES.glob("pool-*.png")], check=True)


if __name__ == "__main__":
    main()
