"""The examples of README.md and docs/: each is a file under docs/examples/, and each of those runs as it stands."""

import re
import runpy
import secrets
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from memsession.asgi import SessionMiddleware

PROJECT = Path(__file__).parents[1]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
EXAMPLES = sorted((PROJECT / "docs" / "examples").glob("*.py"))
MARK = re.compile(r"<!-- example: (\S+) -->")


def python_blocks(page: Path) -> list[tuple[str, str]]:
    """The python blocks of a page, each with the line above it."""
    lines = page.read_text(encoding="utf-8").splitlines()
    blocks = []
    for number, (above, line) in enumerate(pairwise(["", *lines])):
        if line.strip().startswith(("```python", "```py")):
            end = lines.index("```", number + 1)
            blocks.append((above, "\n".join(lines[number + 1 : end]) + "\n"))
    return blocks


BLOCKS = [(page.name, above, code) for page in PAGES for above, code in python_blocks(page)]


@pytest.mark.parametrize(("page", "above", "code"), BLOCKS, ids=[f"{page}-{above}" for page, above, _ in BLOCKS])
def test_printed_examples_are_files(page, above, code):
    """A python block names its file in a comment above it, and is that file, letter for letter."""
    mark = MARK.fullmatch(above)

    assert mark is not None, f"{page}: put <!-- example: docs/examples/NAME.py --> above the block"
    assert mark[1] in {str(path.relative_to(PROJECT)) for path in EXAMPLES}
    assert (PROJECT / mark[1]).read_text(encoding="utf-8") == code


def test_every_example_is_printed():
    """No file lies under docs/examples/ that no page shows."""
    assert {path.name for path in EXAMPLES} == {Path(above.split()[2]).name for _, above, _ in BLOCKS}


@pytest.fixture
def run(monkeypatch):
    """Runs an example as it stands; its names."""
    monkeypatch.setenv("SECRET_KEY", secrets.token_urlsafe(32))
    monkeypatch.setenv("MEMSESSION_POOL", "memory://")
    return lambda name: runpy.run_path(str(PROJECT / "docs" / "examples" / name))


def browser(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(path, run):
    """An example runs as it stands, without a complaint."""
    assert run(path.name)


async def test_the_starlette_example_counts(run):
    """Each visit is counted."""
    async with browser(run("starlette_app.py")["app"]) as client:
        assert [(await client.get("/")).text for _ in range(3)] == ["Visit 1", "Visit 2", "Visit 3"]


async def test_the_fastapi_example_remembers_until_logout(run):
    """Login renews the ID and keeps the cart; nested changes are saved; logout ends it."""
    async with browser(run("fastapi_app.py")["app"]) as client:
        await client.post("/cart/shoes")
        before = client.cookies["session"]
        assert (await client.post("/login/7")).json() == {"logins": 1}
        assert client.cookies["session"] != before
        assert (await client.post("/cart/hat")).json() == {"items": ["shoes", "hat"]}
        assert (await client.post("/logout")).json() == {"bye": True}
        assert "session" not in client.cookies
        assert (await client.post("/cart/hat")).json() == {"items": ["hat"]}


async def test_the_example_of_modify_raises_the_bid(run):
    """From its default, by 10 each time."""
    app = Starlette(
        routes=[Route("/", run("atomic.py")["bid"])],
        middleware=[Middleware(SessionMiddleware, secret_key=secrets.token_urlsafe(32), pool="memory://")],
    )
    async with browser(app) as client:
        assert [(await client.get("/")).json()["bid"] for _ in range(3)] == [110, 120, 130]
