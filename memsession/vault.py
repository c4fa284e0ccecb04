"""The vault: records as sealed bytes, each bound to its own storage key."""

from collections import OrderedDict

from memsession.record import Record, decode, encode
from memsession.seal import Seal

REMEMBERED = 2_048
REMEMBERED_BYTES_MAX = 2_048
"""Of one value; a few megabytes in all."""


class Vault:
    """The codec that plans use in production: JSON inside an authenticated envelope.

    It remembers, by storage key, the value it saw last and the record in it: what comes back from a node to the
    letter needs no second proof. Records are never changed in place, so they can be shared. Safe to share between
    threads.
    """

    __slots__ = ("_last", "_seal")

    def __init__(self, seal: Seal) -> None:
        self._seal = seal
        self._last: OrderedDict[bytes, tuple[bytes, Record]] = OrderedDict()

    def seal(self, key: bytes, record: Record) -> bytes:
        """The value to store under `key`."""
        value = self._seal.seal(key, encode(record))
        self._remember(key, value, record)
        return value

    def open(self, key: bytes, value: bytes) -> Record | None:
        """The record in `value`; None when it is not authentic, was stored under another key, or is malformed."""
        last = self._last.get(key)
        if last is not None and last[0] == value:
            return last[1]
        payload = self._seal.open(key, value)
        record = None if payload is None else decode(payload)
        if record is not None:
            self._remember(key, value, record)
        return record

    def _remember(self, key: bytes, value: bytes, record: Record) -> None:
        if len(value) <= REMEMBERED_BYTES_MAX:
            self._last[key] = value, record
            while len(self._last) > REMEMBERED:
                self._last.popitem(last=False)
