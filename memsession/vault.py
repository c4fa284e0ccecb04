"""The vault: records as sealed bytes, each bound to its own storage key."""

from memsession.record import Record, decode, encode
from memsession.seal import Seal


class Vault:
    """The codec that plans use in production: JSON inside an authenticated envelope."""

    __slots__ = ("_seal",)

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    def seal(self, key: bytes, record: Record) -> bytes:
        """The value to store under `key`."""
        return self._seal.seal(key, encode(record))

    def open(self, key: bytes, value: bytes) -> Record | None:
        """The record in `value`; None when it is not authentic, was stored under another key, or is malformed."""
        payload = self._seal.open(key, value)
        return None if payload is None else decode(payload)
