"""Paths as settings name them."""

import pytest

from memsession.errors import ConfigurationError
from memsession.paths import is_below, roots


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("/static", True),
        ("/static/", True),
        ("/static/app.css", True),
        ("/statics", False),
        ("/", False),
        ("", False),
        ("/health", True),
        ("/healthy", False),
        ("/api/static", False),
    ],
)
def test_a_place_is_itself_and_what_lies_below(path, below):
    """Nothing that only begins with the same letters."""
    assert is_below(path, roots("skip={}", ["/static", "/health/"])) is below


def test_the_root_is_everywhere():
    """And no place is nowhere."""
    assert is_below("/any/thing", roots("skip={}", ["/"]))
    assert not is_below("/any/thing", roots("skip={}", []))


@pytest.mark.parametrize("paths", ["/static", b"/static", None, 7, ["static"], [""], [b"/static"], [None]])
def test_what_is_no_list_of_paths_is_refused(paths):
    """With the setting's name, as it was written."""
    with pytest.raises(ConfigurationError, match=r"^skip=.*: give a list of paths that begin with /"):
        roots("skip={}", paths)
