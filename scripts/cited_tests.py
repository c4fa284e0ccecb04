"""Brings the tests that the documentation cites into the site: a page for each file, a section for each test.

In the pages they are links to files, [`test_x.py::test_name`](../tests/unit/test_x.py), which lead there in an editor
and in the repository, too. MkDocs calls the two functions; they raise when a cited test is not there.
"""

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

PROJECT = Path(__file__).parents[1]
CITED = re.compile(r"\[`[\w.]+::(\w+)`\]\(\.\./(tests/[\w/]+)\.py\)")


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each file that is cited."""
    cited: dict[str, list[str]] = {}
    for page in files.documentation_pages():
        for name, module in CITED.findall(page.content_string):
            cited.setdefault(module, []).append(name)
    for module, names in cited.items():
        files.append(File.generated(config, f"{module}.md", content=_page(module, names)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let the citations lead to those pages."""
    return CITED.sub(lambda found: f"[`{found[1]}`]({found[2]}.md#{found[1]})", markdown)


def _page(module: str, names: list[str]) -> str:
    text = (PROJECT / f"{module}.py").read_text(encoding="utf-8")
    found = {
        node.name: node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    lines = text.splitlines()
    if missing := set(names) - found.keys():
        raise PluginError(f"{module}.py has no {', '.join(sorted(missing))}, which the documentation cites")
    sections = [f"# {module}.py\n"]
    for name in sorted(set(names), key=lambda name: found[name].lineno):
        node = found[name]
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        code = "\n".join(lines[first - 1 : node.end_lineno])
        sections.append(f"## {name} {{ #{name} }}\n\n```python\n{code}\n```\n")
    return "\n".join(sections)
