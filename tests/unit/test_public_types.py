"""The types that users see: a file of what they write, checked as strictly as they may check it."""

import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
USAGE = PROJECT / "tests" / "typed"


def test_what_users_write_is_typed():
    """mypy, strict: all is accepted that should be, and a misspelt option is an error."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    out, err, status = api.run(
        ["--strict", "--config-file", str(PROJECT / "pyproject.toml"), "--no-error-summary", str(USAGE)]
    )

    assert (out, err, status) == ("", "", 0)


def test_the_check_can_fail(tmp_path):
    """The same run finds a wrong line."""
    api = pytest.importorskip("mypy.api", reason="mypy is not installed")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from starlette.middleware import Middleware\n"
        "from memsession.asgi import SessionMiddleware\n"
        "Middleware(SessionMiddleware, secret_key='', lifetme=None)\n"
    )
    out, _, status = api.run(["--strict", "--config-file", str(PROJECT / "pyproject.toml"), str(wrong)])

    assert status == 1
    assert 'Unexpected keyword argument "lifetme"' in out
    assert sys.version_info >= (3, 11)
