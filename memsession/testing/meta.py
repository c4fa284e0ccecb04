"""The meta commands of a fake node (`mg`, `ms`, `md`), answered as memcached 1.6.18 answers them, to the byte."""

from collections.abc import Callable
from typing import Final, NamedTuple

from memsession.testing.flags import BAD_LINE, WORDS_MAX, Flags, Refused, opaque, signed
from memsession.testing.items import ITEM_BYTES_MAX, Item, Items, item_bytes

KEY_BYTES_MAX: Final = 250
VALUE_BYTES_MAX: Final = 2**31 - 3

_MODES: Final = frozenset((b"", b"E", b"A", b"P", b"R", b"S"))


class Storing(NamedTuple):
    """A command that has its reply when `size` more bytes have come: `finish` makes it of them."""

    size: int
    finish: Callable[[bytes], bytes]


def mg(items: Items, words: list[bytes]) -> bytes:
    """Read. May raise `Refused`, as all of these."""
    key = _key(words, "CLIENT_ERROR options flags are too long")
    flags = Flags(words[2:])
    item = items.find(key)
    items.counts["cmd_get"] += 1
    items.counts["get_misses" if item is None else "get_hits"] += 1
    if item is None:
        line = b"EN%b\r\n" % _echo(key, flags)
        return b"" if flags.has(b"q") else line
    told = _told(items, key, item, flags)
    items.use(key, item)
    if flags.has(b"v"):
        return b"VA %d%b\r\n%b\r\n" % (len(item.value), told, item.value)
    return b"HD%b\r\n" % told


def md(items: Items, words: list[bytes]) -> bytes:
    """Delete."""
    key = _key(words, "CLIENT_ERROR options flags too long")
    try:
        flags = Flags(words[2:])
    except Refused as refusal:
        if str(refusal).startswith("SERVER_ERROR"):
            raise
        raise Refused("CLIENT_ERROR invalid or duplicate flag") from None
    echo, item = _echo(key, flags), items.find(key)
    if item is None:
        return b"NF%b\r\n" % echo
    if flags.cas not in (None, item.cas):
        return b"EX%b\r\n" % echo
    items.drop(key)
    return b"" if flags.has(b"q") else b"HD%b\r\n" % echo


def ms(items: Items, words: list[bytes]) -> Storing:
    """Store, when the value is there. A refusal passes over the value if its size could be read."""
    if len(words) == 2:
        raise Refused(BAD_LINE)
    key = _key(words, "CLIENT_ERROR options flags too long")
    size = signed(words[2])
    if size is None or not 0 <= size <= VALUE_BYTES_MAX:
        raise Refused(BAD_LINE)
    try:
        flags = _flags_to_store(words[3:])
    except Refused as refusal:
        raise Refused(str(refusal), skip=size + 2) from None
    if item_bytes(key, size, flags.client) > ITEM_BYTES_MAX:
        items.drop(key)
        raise Refused("SERVER_ERROR object too large for cache", skip=size + 2)
    new = Item(b"", flags.client, 0, items.expiry(flags.ttl or 0), 0)
    return Storing(size + 2, lambda value: _stored(items, key, flags, new, value))


def _key(words: list[bytes], too_many: str) -> bytes:
    if len(words) == 1:
        raise Refused("ERROR")
    if len(words[1]) > KEY_BYTES_MAX:
        raise Refused(BAD_LINE)
    if len(words) > WORDS_MAX:
        raise Refused(too_many)
    return words[1]


def _flags_to_store(words: list[bytes]) -> Flags:
    flags = Flags(words)
    if flags.mode not in _MODES:
        raise Refused("CLIENT_ERROR invalid mode for ms M token")
    opaque(words)
    return flags


def _stored(items: Items, key: bytes, flags: Flags, new: Item, value: bytes) -> bytes:
    if not value.endswith(b"\r\n"):
        return b"CLIENT_ERROR bad data chunk\r\n"
    items.counts["cmd_set"] += 1
    new.value = value[:-2]
    refusal = _declined(key, flags, new, items.find(key))
    if refusal:
        return refusal + _echo(key, flags, cas=0) + b"\r\n"
    cas = items.store(key, new)
    return b"" if flags.has(b"q") else b"HD%b\r\n" % _echo(key, flags, cas=cas)


def _declined(key: bytes, flags: Flags, new: Item, old: Item | None) -> bytes:
    """The code of the reply where the mode or the CAS number does not let it be stored; nothing if they do.

    What is appended or prepended becomes one value with the old one here.
    """
    mode = flags.mode
    if flags.cas is not None and mode in (b"", b"S", b"R"):
        return b"NF" if old is None else b"" if flags.cas == old.cas else b"EX"
    if mode == b"E":
        return b"NS" if old else b""
    if mode in (b"", b"S"):
        return b""
    if old is None:
        return b"NS"
    if mode == b"R":
        return b""
    # 0 is no CAS number, and stands for none given; but not in the modes above.
    if flags.cas and flags.cas != old.cas:
        return b"EX"
    new.value = old.value + new.value if mode == b"A" else new.value + old.value
    new.flags, new.expires = old.flags, old.expires
    return b"NS" if item_bytes(key, len(new.value), new.flags) > ITEM_BYTES_MAX else b""


def _told(items: Items, key: bytes, item: Item, flags: Flags) -> bytes:
    """What a hit tells, in the order in which it was asked; and the new expiry, if one is given."""
    told = []
    for word in flags.words:
        match word[:1]:
            case b"T":
                item.expires = items.expiry(flags.ttl or 0)
            case b"s":
                told.append(b" s%d" % len(item.value))
            case b"t":
                told.append(b" t%d" % items.left(item))
            case b"f":
                told.append(b" f%d" % item.flags)
            case _:
                told.append(_echo(key, flags, cas=item.cas, only=word))
    return b"".join(told)


def _echo(key: bytes, flags: Flags, *, cas: int | None = None, only: bytes | None = None) -> bytes:
    """What every reply repeats of its command, in the order of the command; a CAS number if there is one to tell."""
    told = []
    for word in flags.words if only is None else [only]:
        match word[:1]:
            case b"O":
                told.append(b" %b" % (opaque([word]) or b""))
            case b"k":
                told.append(b" k%b" % key)
            case b"c" if cas is not None:
                told.append(b" c%d" % cas)
            case _:
                pass
    return b"".join(told)
