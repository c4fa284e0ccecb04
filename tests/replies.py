"""memcached's replies, good and bad, to a command with a given key and opaque number."""

from collections.abc import Callable

from memsession.commands import Add, Bury, Cas, Conflict, Get, Hit, Miss, NotFound, Stored, Token, Unreachable
from memsession.wire import AskStats, AskVersion, Mark, Stats, Version

KEY = b"memsession:AbCdEf"
OTHER_KEY = b"memsession:AbCdEg"

COMMANDS = {
    "get": Get("a", KEY),
    "add": Add("a", KEY, b"new", 60),
    "cas": Cas("a", KEY, b"new", 60, Token(5, 1)),
    "bury": Bury("a", KEY, b"dead", 60),
    "mark": Mark(KEY, b"beef"),
    "version": AskVersion(),
    "stats": AskStats(),
}

Line = Callable[[bytes, int], bytes]


def line(code: bytes) -> Line:
    """A reply of a code and the echo."""
    return lambda key, opaque: b"%b k%b O%d\r\n" % (code, key, opaque)


def value(data: bytes, *, cas: bytes = b"77", size: bytes | None = None, end: bytes = b"\r\n") -> Line:
    """A reply with a value."""
    told = b"%d" % len(data) if size is None else size
    return lambda key, opaque: b"VA %b c%b k%b O%d\r\n%b%b" % (told, cas, key, opaque, data, end)


def plain(text: bytes) -> Line:
    """A reply without an echo, or something that is no reply at all."""
    return lambda _key, _opaque: text


TOO_LARGE = "SERVER_ERROR object too large for cache"
NO_MEMORY = "SERVER_ERROR out of memory storing object"
FIGURES = b"STAT pid 7\r\nSTAT time 1795177655\r\nSTAT version 1.6.18\r\nSTAT empty \r\nEND\r\n"

GOOD: list[tuple[str, Line, object]] = [
    ("get", line(b"EN"), Miss()),
    ("get", value(b"stored"), Hit(b"stored", Token(77, 1))),
    ("get", value(b""), Hit(b"", Token(77, 1))),
    ("get", value(b"\r\nEN\r\n", cas=b"1"), Hit(b"\r\nEN\r\n", Token(1, 1))),
    ("get", value(b"x", cas=b"18446744073709551615"), Hit(b"x", Token(2**64 - 1, 1))),
    ("get", plain(NO_MEMORY.encode() + b"\r\n"), Unreachable(NO_MEMORY)),
    ("add", line(b"HD"), Stored()),
    ("add", line(b"NS"), Conflict()),
    ("add", plain(NO_MEMORY.encode() + b"\r\n"), Unreachable(NO_MEMORY)),
    ("cas", line(b"HD"), Stored()),
    ("cas", line(b"EX"), Conflict()),
    ("cas", line(b"NF"), NotFound()),
    ("cas", plain(TOO_LARGE.encode() + b"\r\n"), Unreachable(TOO_LARGE)),
    ("bury", line(b"HD"), Stored()),
    ("bury", plain(NO_MEMORY.encode() + b"\r\n"), Unreachable(NO_MEMORY)),
    ("mark", line(b"HD"), Stored()),
    ("mark", line(b"NS"), Conflict()),
    ("version", plain(b"VERSION 1.6.18\r\n"), Version("1.6.18")),
    ("version", plain(b"VERSION 1.4.15\r\n"), Version("1.4.15")),
    (
        "stats",
        plain(FIGURES),
        Stats({"pid": "7", "time": "1795177655", "version": "1.6.18", "empty": ""}),
    ),
    ("stats", plain(b"END\r\n"), Stats({})),
]

_CODES = (b"HD", b"EN", b"NS", b"EX", b"NF", b"VA", b"ME", b"MN", b"OK", b"hd", b"H", b"HDD", b"")
_LEGAL = {
    "get": {b"EN"},
    "add": {b"HD", b"NS"},
    "cas": {b"HD", b"EX", b"NF"},
    "bury": {b"HD"},
    "mark": {b"HD", b"NS"},
    "version": set(),
    "stats": set(),
}
_ANYWHERE: list[Line] = [
    plain(b"ERROR\r\n"),
    plain(b"ERROR Too many open connections\r\n"),
    plain(b"CLIENT_ERROR bad data chunk\r\n"),
    plain(b"CLIENT_ERROR bad command line format\r\n"),
    plain(b"SERVER_ERROR\r\n"),
    plain(b"SERVER_ERROR out of memory\n"),
    plain(b"SERVER_ERROR \xc3\xa4\r\n"),
    plain(b"SERVER_ERROR a\rb\r\n"),
    plain(b"\r\n"),
    plain(b"\n"),
    plain(b"\x00\r\n"),
    plain(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<h1>Bad Request</h1>\r\n"),
    plain(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x0a" * 60),
    plain(b"\x81\x00\x00\x00\x00\x00\x00\x01" + b"\x00" * 20 + b"\n"),
    plain(b"A" * 10_000_000),
    plain(b"VA " + b"9" * 10_000),
    plain(b"x" * 8_192 + b"\r\n"),
    plain(b"HD" + b" " * 8_189 + b"\r\n"),
    plain(b"STAT time 5\r\n" + b"rubbish\r\nEND\r\n"),
    plain(b"STAT \r\nEND\r\n"),
    plain(b"STAT a\x07 5\r\nEND\r\n"),
    plain(b"STAT a 5\nEND\r\n"),
    plain(b"STAT a " + b"5" * 70_000 + b"\r\nEND\r\n"),
    plain(b"STAT a 5\r\n" * 10_000),
    plain(b"VERSION\r\n"),
    plain(b"VERSION 1.6.18\n"),
    line(b"ZZ"),
]
_HALF_ECHOES: list[Line] = [
    lambda key, opaque: b"%b k%b O%d\r\n" % (b"{}", OTHER_KEY, opaque),
    lambda key, opaque: b"%b k%b O%d\r\n" % (b"{}", key, opaque + 1),
    lambda key, opaque: b"%b k%b O%d\r\n" % (b"{}", key, opaque - 1),
    lambda key, opaque: b"%b k%b O%d0\r\n" % (b"{}", key, opaque),
    lambda key, opaque: b"%b k%b O0%d\r\n" % (b"{}", key, opaque),
    lambda key, opaque: b"%b k%b\r\n" % (b"{}", key),
    lambda key, opaque: b"%b O%d\r\n" % (b"{}", opaque),
    lambda key, opaque: b"%b\r\n" % b"{}",
    lambda key, opaque: b"%b O%d k%b\r\n" % (b"{}", opaque, key),
    lambda key, opaque: b"%b k%b O%d O%d\r\n" % (b"{}", key, opaque, opaque),
    lambda key, opaque: b"%b k%b k%b O%d\r\n" % (b"{}", key, key, opaque),
    lambda key, opaque: b"%b k%b O%d W\r\n" % (b"{}", key, opaque),
    lambda key, opaque: b"%b W k%b O%d\r\n" % (b"{}", key, opaque),
    lambda key, opaque: b"%b k%b O%d \r\n" % (b"{}", key, opaque),
    lambda key, opaque: b"%b  k%b O%d\r\n" % (b"{}", key, opaque),
    lambda key, opaque: b"%b k%b O%d\n" % (b"{}", key, opaque),
    lambda key, opaque: b"%b k%b O%d\r\r\n" % (b"{}", key, opaque),
    lambda key, opaque: b"%b k%b O%d\n\r\n" % (b"{}", key, opaque),
]
_BAD_VALUES: list[Line] = [
    value(b"abc", size=b"-1"),
    value(b"abc", size=b"+3"),
    value(b"abc", size=b"3_0"),
    value(b"abc", size=b""),
    value(b"abc", size=b"three"),
    value(b"abc", size=b"0x3"),
    value(b"abc", size=b"3.0"),
    value(b"abc", size="٣".encode()),
    value(b"abc", size=b"1000000000000"),
    value(b"abc", size=b"1049601"),
    value(b"abc", size=b"2"),
    value(b"abc", size=b"4"),
    value(b"abc", end=b"\n\n"),
    value(b"abc", end=b"xx"),
    value(b"abc", end=b"\n\r"),
    value(b"abc", cas=b"0"),
    value(b"abc", cas=b"18446744073709551616"),
    value(b"abc", cas=b"9" * 21),
    value(b"abc", cas=b"-7"),
    value(b"abc", cas=b"+7"),
    value(b"abc", cas=b"seven"),
    value(b"abc", cas=b""),
    value(b"abc", cas=b"7 c7"),
    value(b"abc", cas=b"7 W"),
    value(b"abc", cas=b"7 t60"),
    lambda key, opaque: b"VA 3 k%b O%d\r\nabc\r\n" % (key, opaque),
    lambda key, opaque: b"VA c7 k%b O%d\r\nabc\r\n" % (key, opaque),
    lambda key, opaque: b"VA 3 c7\r\nabc\r\n",
    lambda key, opaque: b"VA 3 c7 k%b O%d\r\nabc\r\n" % (OTHER_KEY, opaque),
    lambda key, opaque: b"VA 3 c7 k%b O%d\r\nabc\r\n" % (key, opaque + 1),
    lambda key, opaque: b"VA 3 c7 k%b O%d\nabc\r\n" % (key, opaque),
    lambda key, opaque: b"VA 3 c7 O%d k%b\r\nabc\r\n" % (opaque, key),
    lambda key, opaque: b"VA 3 c7\r\nk%b O%d\r\nabc\r\n" % (key, opaque),
    lambda key, opaque: b"VA k%b O%d\r\n" % (key, opaque),
    lambda key, opaque: b"VA 03 c7 k%b O%d extra\r\nabc\r\n" % (key, opaque),
    lambda key, opaque: b"EN k%b O%d 3\r\nabc\r\n" % (key, opaque),
]


def _filled(half: Line, code: bytes) -> Line:
    return lambda key, opaque: half(key, opaque).replace(b"{}", code)


def bad_replies() -> list[tuple[str, Line]]:
    """Each with the kind of command it answers. None of them is to be believed."""
    bad = [(kind, text) for kind in COMMANDS for text in _ANYWHERE]
    for kind, legal in _LEGAL.items():
        bad += [(kind, line(code)) for code in _CODES if code not in legal]
        bad += [(kind, _filled(half, code)) for code in sorted(legal) for half in _HALF_ECHOES]
    bad += [("get", text) for text in _BAD_VALUES]
    bad += [(kind, value(b"abc")) for kind in _LEGAL if kind != "get"]
    bad += [(kind, plain(b"VERSION 1.6.18\r\n")) for kind in _LEGAL if kind != "version"]
    bad += [(kind, plain(FIGURES)) for kind in _LEGAL if kind != "stats"]
    return bad
