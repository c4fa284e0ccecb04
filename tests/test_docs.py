"""The documentation: links lead somewhere, the site has every page, and nothing that users can set is left out."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

import memsession
from memsession import Cookie, Exclusive, Lifetime, Pool, SessionError, events
from memsession.asgi import AsgiOptions
from memsession.lifecycle import Options
from memsession.session import AsyncSession
from memsession.upkeep import Upkeep
from tests.upstream.verdict import TABLE, as_markdown, deviations

PROJECT = Path(__file__).parents[1]
DOCS = PROJECT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LINKED_PAGES = [PROJECT / "README.md", *PAGES]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)

LINK = re.compile(r"(?<!!)\[(?:[^\]]|`[^`]*`)*\]\(([^)\s]+)\)")
REFERENCE = re.compile(r"^\[[^\]]+\]: (\S+)$", re.MULTILINE)
CITED_TEST = re.compile(r"\[`([\w.]+)::(\w+)`\]\(([^)\s]+)\)")
TEST_NAME = re.compile(r"\btest_\w+(?:\.py)?::\w+")
OFFICIAL = re.compile(r"https://[\w.-]+\.(?:org|gov)/[\w./-]*")


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown page offers: its headings, as MkDocs and code hosts spell them."""
    titles = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower() for title in titles)
    return {re.sub(r"[\s-]+", "-", title) for title in plain}


LINKS = [
    pytest.param(page, link, id=f"{page.name}-{link}")
    for page in LINKED_PAGES
    for link in dict.fromkeys([*LINK.findall(prose(page)), *REFERENCE.findall(prose(page))])
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_links_lead_somewhere(page, link):
    """To a file and a heading that are there; outside, to a project's or an authority's own page."""
    if link.startswith("http"):
        assert OFFICIAL.fullmatch(link)
        return
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page

    assert target.is_file()
    assert target.is_relative_to(PROJECT)
    if anchor:
        assert anchor in anchors(target)


def test_the_pages_link_to_nothing_but_pages_and_tests():
    """The site is made of `docs/`; the tests that pages cite are added to it. Or to files to be taken."""
    inside = [link for page in PAGES for link in LINK.findall(prose(page)) if not link.startswith("http")]
    elsewhere = {link for link in inside if not re.fullmatch(r"[\w-]*(?:\.md)?(?:#[\w-]+)?", link)}

    offered = r"\.\./tests/[\w/]+\.py|monitoring/[\w-]+\.(?:json|yml)"
    assert {link for link in elsewhere if not re.fullmatch(offered, link)} == set()


def test_every_page_is_in_the_navigation():
    """Once, and nothing that is not a page."""
    navigation = (
        (PROJECT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2].partition("\nhooks:")[0]
    )

    assert sorted(re.findall(r"[\w-]+\.md", navigation)) == [page.name for page in PAGES]


CITED = sorted({found for page in PAGES for found in CITED_TEST.findall(prose(page))})


@pytest.mark.parametrize(("file", "name", "link"), CITED, ids=[f"{file}::{name}" for file, name, _ in CITED])
def test_cited_tests_are_there(file, name, link):
    """What the pages promise is shown by a test of that name in that file."""
    path = DOCS / link
    defined = {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if hasattr(node, "decorator_list")}

    assert path.name == file
    assert name in defined


def table_rows(text: str) -> list[str]:
    """The rows of its tables, without their heads."""
    return re.findall(r"^\| (?!requirement |complaint ).*$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "heading", "least", "without"),
    [
        ("security.md", "## Checklist", 28, "*Yours*"),
        ("answers.md", "# What goes wrong elsewhere", 25, "*Not offered yet*"),
    ],
)
def test_tests_are_cited_by_links_only(page, heading, least, without):
    """So that none escapes the test above, and each row has one or says why it has none."""
    text = prose(DOCS / page)
    rows = table_rows(text.partition(heading)[2].partition("\n## ")[0])

    assert len(TEST_NAME.findall(text)) == len(CITED_TEST.findall(text))
    assert len(rows) >= least
    assert [row for row in rows if not CITED_TEST.search(row) and without not in row] == []


@pytest.mark.parametrize("option", [*Options.__annotations__, "secret_key"])
def test_every_option_is_explained(option):
    """In the table of options."""
    assert f"\n| `{option}` |" in (DOCS / "options.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", sorted({*AsgiOptions.__annotations__} - {*Options.__annotations__}))
def test_every_option_of_starlette_is_explained(option):
    """On Starlette's page, or where moving from it is told."""
    assert f"`{option}`" in "".join((DOCS / name).read_text("utf-8") for name in ("starlette.md", "moving.md"))


KINDS = (Cookie, Exclusive, Lifetime, Upkeep)
SETTINGS = [(kind, field.name) for kind in KINDS for field in dataclasses.fields(kind)]
SETTINGS += [
    (Pool, name)
    for name in ("copies", "prefix", "max_bytes", "timeout", "budget", "previous", "zones", "consistency")
]


@pytest.mark.parametrize(("kind", "name"), SETTINGS, ids=[f"{kind.__name__}-{name}" for kind, name in SETTINGS])
def test_every_setting_is_explained(kind, name):
    """In a table of its own, or where it is used."""
    assert re.search(rf"^\| `{name}` \||\b{kind.__name__}\([^)\n]*\b{name}=|\*\*{name}\*\*", TEXT, re.MULTILINE)


EVENTS = [
    name
    for name, kind in vars(events).items()
    if isinstance(kind, type) and kind.__module__.startswith(events.__name__) and dataclasses.is_dataclass(kind)
]


@pytest.mark.parametrize("event", [name for name in EVENTS if name not in ("Event", "NodeEvent")])
def test_every_event_is_explained(event):
    """In the table of events, with its fields and the level of its log line."""
    kind = getattr(events, event)
    row = re.search(rf"^\| `{event}` \| (\w+) \| .*$", TEXT, re.MULTILINE)

    assert row is not None
    assert row[1] == {10: "debug", 20: "info", 30: "warning", 40: "error"}[kind.level]
    for field in dataclasses.fields(kind):
        assert field.name in ("session", "node") or f"`{field.name}`" in row[0]


ERRORS = [name for name in memsession.__all__ if isinstance(getattr(memsession, name), type)]
ERRORS = [name for name in ERRORS if issubclass(getattr(memsession, name), SessionError)]


@pytest.mark.parametrize("error", [name for name in ERRORS if name != "SessionError"])
def test_every_error_is_explained(error):
    """In the table of errors."""
    assert f"\n| `{error}` |" in (DOCS / "sessions.md").read_text(encoding="utf-8")


OWN = sorted(
    name for name in {*dir(AsyncSession)} - {*dir(dict)} if not name.startswith("_") and name != "mark_accessed"
)


@pytest.mark.parametrize("name", OWN)
def test_all_that_a_session_can_do_is_explained(name):
    """In the tables of sessions."""
    assert re.search(rf"`(?:await )?session\.{name}[`(]", (DOCS / "sessions.md").read_text(encoding="utf-8"))


def test_deviations_are_listed():
    """What the frameworks' own tests find different is told as `scripts/upstream --table` tells it."""
    table = as_markdown(deviations(TABLE.read_text(encoding="utf-8")))

    assert table in (DOCS / "moving.md").read_text(encoding="utf-8"), "put scripts/upstream --table into moving.md"
