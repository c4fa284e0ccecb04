"""What commands are told: pool and secret from arguments, environment and files; what is refused, and how."""

import os
from datetime import timedelta

import pytest

from memsession.command.output import CommandError, plain
from memsession.command.settings import (
    SECRET_FILE_BYTES_MAX,
    PoolSettings,
    duration,
    pool_given,
    secret_file_given,
    secrets,
    secrets_if_any,
)
from tests.command_line import SECRET

OLD = "another-secret-of-the-tests-0123456789"


@pytest.fixture(autouse=True)
def _bare(monkeypatch):
    """Nothing in the environment but what a test puts there."""
    for name in [name for name in os.environ if name.startswith("MEMSESSION_")]:
        monkeypatch.delenv(name)


def names(pool):
    return [node.name for node in pool.nodes]


def refused(call, *arguments, **options):
    """The text of the error, which is one of usage and in one line."""
    with pytest.raises(CommandError) as error:
        call(*arguments, **options)
    text = str(error.value)
    assert error.value.exit_code == 2
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["a,b"], ["a:11211", "b:11211"]),
        ([["a", "b:1"]], ["a:11211", "b:1"]),
        ([None, "a,b"], ["a:11211", "b:11211"]),
        ([[], "memcached://a,b,c?copies=3"], ["a:11211", "b:11211", "c:11211"]),
        ([None, None], ["e:11211", "f:11211"]),
    ],
)
def test_the_pool_from_argument_option_or_environment(monkeypatch, texts, expected):
    """What is given comes first; all forms that Pool() takes."""
    monkeypatch.setenv("MEMSESSION_POOL", "e,f")
    assert names(pool_given(*texts)) == expected


def test_a_pool_for_people_has_patience():
    """More than an application's; the copies are the same."""
    pool = pool_given("memcached://a,b,c?copies=3")
    assert (pool.copies, pool.timeout, pool.budget) == (3, timedelta(seconds=1), timedelta(seconds=5))


def test_other_settings_of_the_pool(monkeypatch):
    """From options, or from the environment; options come first."""
    monkeypatch.setenv("MEMSESSION_PREFIX", "shop")
    monkeypatch.setenv("MEMSESSION_PREVIOUS", "a,b,c")
    monkeypatch.setenv("MEMSESSION_CONSISTENCY", "majority")
    pool = pool_given(
        "memcached://a,b,c,d?copies=3",
        settings=PoolSettings(prefix="forum", previous="b,c,d", max_bytes=2_000, consistency="one"),
    )
    assert (pool.prefix, names(pool.previous), pool.max_bytes, pool.consistency) == (
        "forum",
        ["b:11211", "c:11211", "d:11211"],
        2_000,
        "one",
    )
    monkeypatch.setenv("MEMSESSION_PREVIOUS", "memcached://a,b,c?copies=3")
    pool = pool_given("memcached://a,b,c,d?copies=3")
    assert (pool.prefix, names(pool.previous), pool.consistency) == (
        "shop",
        ["a:11211", "b:11211", "c:11211"],
        "majority",
    )


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], "set MEMSESSION_POOL"),
        ([["a"], "b"], "leave one out"),
        (["10.0.0.300"], "is no IPv4 address"),
        (["a:99999"], "from 1 to 65535"),
        (["redis://a"], "use memcached://"),
        (["a,a"], "listed twice"),
        (["memory://"], "where no command can look"),
        (["memcached://a,b?copies=3"], "use copies=2 or less"),
    ],
)
def test_a_pool_that_cannot_be(texts, told):
    """One line that names the cure."""
    assert told in refused(pool_given, *texts)


def test_a_password_in_a_wrong_address_is_not_shown():
    """As it stands in URLs of other stores."""
    text = refused(pool_given, "redis://:hunter2@cache")
    assert "hunter2" not in text
    with pytest.raises(CommandError) as error:
        pool_given("redis://:hunter2@cache")
    assert error.value.__suppress_context__


def test_a_wrong_previous_pool(monkeypatch):
    """Is refused like the pool itself."""
    monkeypatch.setenv("MEMSESSION_PREVIOUS", "memory://")
    assert "no command can look" in refused(pool_given, "a,b")


def test_the_secret_from_the_environment_or_a_file(monkeypatch, tmp_path):
    """One, or several with one on each line; the file that is named as an option comes first."""
    assert secrets_if_any() == ()
    monkeypatch.setenv("MEMSESSION_SECRET", f" {SECRET}\n")
    assert secrets() == (SECRET.encode(),)
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n\n{OLD}\r\n")
    assert secrets(file) == (SECRET.encode(), OLD.encode())
    assert secret_file_given(file) == file
    monkeypatch.delenv("MEMSESSION_SECRET")
    assert secret_file_given() is None
    monkeypatch.setenv("MEMSESSION_SECRET_FILE", str(file))
    assert secrets() == (SECRET.encode(), OLD.encode())
    assert secret_file_given() == file


def test_no_secret():
    """The cure names both ways."""
    text = refused(secrets)
    assert "MEMSESSION_SECRET" in text
    assert "--secret-file" in text


def test_two_places_for_a_secret(monkeypatch, tmp_path):
    """Nobody knows which one is meant."""
    monkeypatch.setenv("MEMSESSION_SECRET", SECRET)
    monkeypatch.setenv("MEMSESSION_SECRET_FILE", str(tmp_path / "secret"))
    assert "take one away" in refused(secrets)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty list"),
        (b"tooshort-q8x", "at least 32"),
        (b"\xff\xfe" + SECRET.encode(), "no UTF-8"),
        (b"q8" * SECRET_FILE_BYTES_MAX, "too large"),
        (b"change-me-change-me-change-me-change-me", "placeholder"),
    ],
)
def test_a_file_that_holds_no_secret(tmp_path, content, told):
    """Is named, and nothing of it is shown."""
    file = tmp_path / "secret"
    file.write_bytes(content)
    text = refused(secrets, file)
    assert told in text
    assert str(file) in text
    assert "q8" not in text
    assert SECRET not in text


def test_a_file_that_is_not_there(tmp_path):
    """The system's own words are told."""
    assert "No such file" in refused(secrets, tmp_path / "nothing")
    assert "directory" in refused(secrets, tmp_path)


def test_a_secret_in_the_environment_that_is_none(monkeypatch):
    """It is not shown either."""
    monkeypatch.setenv("MEMSESSION_SECRET", "tooshort-q8x")
    text = refused(secrets)
    assert text.startswith("MEMSESSION_SECRET: ")
    assert "q8x" not in text


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1_800), (" 12h ", 43_200), ("2d", 172_800), ("1.5m", 90)]
)
def test_times(text, seconds):
    """A number and a unit."""
    assert duration(text, "--idle") == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "0", "-5", "5 years", "1e9", "m", "inf", "nan", "9999999d", "\x1b[31m5"])
def test_what_is_no_time(text):
    """Is an error of usage."""
    told = refused(duration, text, "--idle")
    assert "--idle" in told
    assert "\x1b" not in told


def test_what_a_server_says_cannot_reach_the_terminal():
    """No control characters, no line ends."""
    assert plain("a\x1b[31mb\r\nc\x07\x9bd") == "a [31mb c d"
    assert plain("a\u202eb\u2066c\u200bd\ufeff") == "a b c d"
