"""The settings of exclusive mode, and which requests they cover."""

from datetime import timedelta

import pytest

from memsession.errors import ConfigurationError
from memsession.exclusive import Exclusive


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("wait", timedelta(seconds=-1)),
        ("wait", timedelta(minutes=5, microseconds=1)),
        ("wait", 10),
        ("wait", None),
        ("expire", timedelta(milliseconds=999)),
        ("expire", timedelta(hours=1, microseconds=1)),
        ("expire", 30),
        ("on_timeout", "wait"),
        ("on_timeout", None),
        ("on_timeout", []),
        ("paths", "/cart"),
        ("paths", ["cart"]),
        ("paths", [""]),
        ("paths", [b"/cart"]),
        ("paths", None),
        ("methods", "POST"),
        ("methods", [1]),
        ("methods", True),
    ],
)
def test_bad_settings_are_named(setting, value):
    """At start, with the cure."""
    with pytest.raises(ConfigurationError, match=rf"^Exclusive\({setting}=.*: (use|give) "):
        Exclusive(**{setting: value})


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"wait": timedelta(), "expire": timedelta(seconds=1)},
        {"wait": timedelta(minutes=5), "expire": timedelta(hours=1)},
        {"on_timeout": "read_only"},
        {"on_timeout": "merge"},
        {"paths": ("/a", "/b/")},
        {"paths": set()},
        {"methods": ["POST"]},
    ],
)
def test_good_settings_are_accepted(settings):
    """The bounds belong to them."""
    assert Exclusive(**settings).expire_ms >= 1_000


@pytest.mark.parametrize(
    ("path", "covered"),
    [
        ("/cart", True),
        ("/cart/", True),
        ("/cart/add", True),
        ("/carts", False),
        ("/", False),
        ("", False),
        ("/shop", True),
        ("/shop/x/y", True),
        ("/shopping", False),
    ],
)
def test_paths_cover_what_lies_below_them(path, covered):
    """And nothing that only begins alike; a slash at the end makes no difference."""
    assert Exclusive(paths=["/cart", "/shop/"]).covers("GET", path) is covered


@pytest.mark.parametrize("path", ["/", "", "/anything", "*"])
def test_everything_by_default(path):
    """Each path and each method; what is no path (OPTIONS *) needs no session."""
    assert Exclusive().covers("PATCH", path) is (path != "*")


@pytest.mark.parametrize(
    ("methods", "method", "covered"),
    [(["post"], "POST", True), (["POST"], "GET", False), ([], "GET", False), (None, "GET", True)],
)
def test_methods(methods, method, covered):
    """As HTTP writes them; None for all."""
    assert Exclusive(methods=methods).covers(method, "/") is covered
