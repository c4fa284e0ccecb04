"""The envelope around a stored value: nobody without the secret can make one, change one or move one elsewhere.

    format   1 byte   0xF5
    key id   4 bytes  which of the secrets made the MAC
    MAC      32 bytes keyed BLAKE2b (RFC 7693)
    payload

The MAC covers a purpose string, the format, the key id, the storage key with its length, and the payload. So a
value is only good under its own key: a node, a network or a client that mixes two sessions up delivers no
answer instead of somebody else's data. The format byte occurs in no UTF-8 text and begins no pickle; a value of
another format is refused, never tried with another decoder.

The same session under the same key gives the same bytes, so all copies share one MAC. memcached itself can
still answer with an older value of the same session; merging all copies is what makes that harmless.
"""

import hmac
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from memsession.errors import ConfigurationError, SessionTooLarge
from memsession.secret import derive

VALUE_BYTES_MAX: Final = 1_048_576
"""memcached's own limit for an item, key and header included."""

_FORMAT: Final = b"\xf5"
_HEAD: Final = 5
_MAC: Final = 32
OVERHEAD: Final = _HEAD + _MAC
"""Bytes that the envelope adds to a payload."""

_PURPOSE: Final = b"memsession.seal"
_KEY_ID_PURPOSE: Final = b"memsession.seal.key-id"


class Seal:
    """Seals with the first of `keys`, opens what any of them sealed.

    `keys` are the secrets that `secret_keys()` returned. Safe to share between threads.

    Raises:
        ConfigurationError: no keys, or two that cannot be told apart.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise ConfigurationError("secret_key is an empty list: give at least one secret")
        # Keying costs as much as hashing 128 bytes: it is done once here, and the state copied for each value.
        self._states = dict(_keyed(secret) for secret in dict.fromkeys(keys))
        if len(self._states) != len(set(keys)):
            raise ConfigurationError(
                "secret_key: two of the secrets share a key id, which happens once in four billion; replace one"
            )
        self._head, self._state = next(iter(self._states.items()))

    def seal(self, key: bytes, payload: bytes) -> bytes:
        """Return `payload` in an envelope that opens only under the storage key `key` (255 bytes at most).

        Raises:
            SessionTooLarge: the envelope would exceed 1,048,576 bytes.
        """
        if len(payload) > VALUE_BYTES_MAX - OVERHEAD:
            raise SessionTooLarge(len(payload) + OVERHEAD, VALUE_BYTES_MAX)
        mac = self._state.copy()
        mac.update(b"%c%b%b" % (len(key), key, payload))
        return b"%b%b%b" % (self._head, mac.digest(), payload)

    def open(self, key: bytes, value: bytes) -> bytes | None:
        """Return the payload, or None if `value` is not exactly what was sealed under `key`. Never raises."""
        state = self._states.get(value[:_HEAD])
        if state is None or len(key) > 255 or not OVERHEAD <= len(value) <= VALUE_BYTES_MAX:
            return None
        payload = value[OVERHEAD:]
        mac = state.copy()
        mac.update(b"%c%b%b" % (len(key), key, payload))
        return payload if hmac.compare_digest(mac.digest(), value[_HEAD:OVERHEAD]) else None


def _keyed(secret: bytes) -> "tuple[bytes, blake2b]":
    head = _FORMAT + derive(secret, _KEY_ID_PURPOSE)[: _HEAD - 1]
    return head, blake2b(_PURPOSE + head, digest_size=_MAC, key=derive(secret, _PURPOSE))
