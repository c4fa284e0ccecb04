"""The examples of README.md and docs/: each is a file under docs/examples/, and each of those runs as it stands."""

import re
import runpy
import secrets
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

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


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
async def test_examples_run(path, monkeypatch):
    """An example runs as it stands; if it is an application, it answers."""
    monkeypatch.setenv("SECRET_KEY", secrets.token_urlsafe(32))
    monkeypatch.delenv("MEMSESSION_POOL", raising=False)

    names = runpy.run_path(str(path))

    if "app" in names:
        transport = httpx.ASGITransport(names["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/")).status_code < 500
