"""The application's secret keys: checked when given, and turned into one key for each purpose.

A cookie signature and a stored value's MAC are only as good as the secret behind them, so a missing, short or
made-up secret is refused at start. Several secrets make a change of secret possible without logging anybody
out: the first one signs, all of them verify.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b

from memsession.errors import ConfigurationError

SECRET_BYTES_MIN = 32
"""256 bits, the strength of everything that is derived from it."""

_CURE = (
    'make one with: python -c "import secrets; print(secrets.token_urlsafe(32))" '
    "and keep it outside the source code, for instance in an environment variable"
)

# A text is refused when nothing but these words is left after digits and punctuation are taken away.
_PLACEHOLDER_WORDS = (
    *("secret", "key", "change", "changeme", "me", "your", "my", "our", "the", "this", "that", "it", "is", "isa"),
    *("an", "not", "very", "super", "top", "so", "really", "default", "example", "sample", "password", "pass"),
    *("word", "phrase", "placeholder", "replace", "with", "here", "insecure", "unsafe", "dummy", "fake", "test"),
    *("testing", "development", "develop", "dev", "production", "prod", "local", "todo", "fixme", "please", "in"),
    *("to", "toa", "for", "of", "and", "or", "must", "should", "random", "string", "value", "token", "session"),
    *("sessions", "cookie", "django", "flask", "fastapi", "starlette", "memsession", "app", "application"),
    *("web", "site", "server", "long", "enough", "bytes", "characters", "chars", "at", "least", "set", "some"),
    *("something", "foo", "bar", "baz", "spam", "eggs", "hello", "world", "qwerty", "letmein", "admin"),
    *("xx", "xxx", "abc", "abcdefghijklmnopqrstuvwxyz"),
)
# So many letters at least: a random secret in hexadecimal or base64 has few or no letters by accident.
_PLACEHOLDER_LETTERS_MIN = 6
_PERIOD_MAX = 64


def secret_keys(secret_key: str | bytes | Sequence[str | bytes]) -> tuple[bytes, ...]:
    """Return the secrets as bytes, in the order given, each once: the first signs, all verify.

    A str counts as its UTF-8 bytes. No message ever contains a secret.

    Raises:
        ConfigurationError: there is none, or one is shorter than 32 bytes, the same piece over and over, a
            placeholder, or neither str nor bytes.
    """
    given = [secret_key] if isinstance(secret_key, str | bytes) else secret_key
    if not isinstance(given, list | tuple):
        raise ConfigurationError(f"secret_key must be a str, bytes or a list of them, not {_kind(given)}: {_CURE}")
    if not given:
        raise ConfigurationError(f"secret_key is an empty list: {_CURE}")
    several = len(given) > 1
    checked = (_checked(one, f" no. {at}" if several else "") for at, one in enumerate(given, start=1))
    return tuple(dict.fromkeys(checked))


def derive(secret: bytes, purpose: bytes) -> bytes:
    """Return 32 bytes that only holders of `secret` can compute, different for each `purpose`.

    BLAKE2b with the secret as key (RFC 7693), whose keys have 64 bytes at most: a longer secret is hashed first.
    """
    if not secret:
        raise ConfigurationError(f"secret_key is empty: {_CURE}")
    key = secret if len(secret) <= blake2b.MAX_KEY_SIZE else blake2b(secret).digest()
    return blake2b(purpose, digest_size=32, key=key).digest()


def _checked(secret: object, which: str) -> bytes:
    if not isinstance(secret, str | bytes):
        raise ConfigurationError(f"secret_key{which} must be a str or bytes, not {_kind(secret)}: {_CURE}")
    key = secret if isinstance(secret, bytes) else _encoded(secret, which)
    if _is_placeholder(key):
        raise ConfigurationError(f"secret_key{which} is a placeholder, not a secret: {_CURE}")
    if len(key) < SECRET_BYTES_MIN:
        raise ConfigurationError(
            f"secret_key{which} has {len(key)} bytes, at least {SECRET_BYTES_MIN} are needed: {_CURE}"
        )
    if any(key[period:] == key[:-period] for period in range(1, min(len(key) // 2, _PERIOD_MAX) + 1)):
        raise ConfigurationError(f"secret_key{which} is the same piece over and over: {_CURE}")
    return key


def _encoded(secret: str, which: str) -> bytes:
    try:
        # os.environ hides bytes that are no UTF-8 in surrogates; this gives back the bytes that were set.
        return secret.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        # From None: the other exception carries the secret.
        raise ConfigurationError(f"secret_key{which} has characters that are no Unicode text: {_CURE}") from None


def _is_placeholder(key: bytes) -> bool:
    if not key.isascii():
        return False
    letters = re.sub("[^a-z]", "", key.decode("ascii").lower())
    if len(letters) < _PLACEHOLDER_LETTERS_MIN:
        return False
    letters = re.sub(r"(.)\1{3,}", "", letters)  # padding
    reached = {0}
    for at in range(len(letters)):
        if at in reached:
            reached.update(at + len(word) for word in _PLACEHOLDER_WORDS if letters.startswith(word, at))
    return len(letters) in reached


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
