"""Replies that no healthy memcached would have sent: random bytes, other people's replies, values under a wrong name.

What cannot be noticed by anybody is left out: an older value of the same item under its present CAS number, or the
other way round. Whoever can do that can roll back sessions, and nothing is promised against it.
"""

import random
from collections.abc import Sequence

PAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def garbage(reply: bytes, chance: random.Random) -> bytes:
    """Something that is not this reply."""
    head, line_end, value = reply.partition(b"\r\n")
    kind = chance.choice(("noise", "page", "flip"))
    if kind == "page":
        return PAGE
    if kind == "noise" or len(value) < 3:
        return chance.randbytes(len(reply))
    at = chance.randrange(len(value) - 2)
    flipped = bytes([value[at] ^ 1 << chance.randrange(8)])
    return head + line_end + value[:at] + flipped + value[at + 1 :]


def replayed(reply: bytes, earlier: Sequence[bytes], chance: random.Random) -> bytes:
    """The reply and an earlier one, an earlier one instead, or an earlier one's value under this one's key."""
    others = [other for other in earlier if other != reply]
    if not others:
        return reply + reply
    other = chance.choice(others)
    kind = chance.choice(("after", "instead", "disguised"))
    if kind == "after":
        return reply + other
    if kind == "instead" or not (reply.startswith(b"VA ") and other.startswith(b"VA ")):
        return other
    if _key(reply) == _key(other):
        return reply + other
    head, line_end, _ = reply.partition(b"\r\n")
    words = head.split(b" ")
    words[1] = other.split(b" ", 2)[1]
    return b" ".join(words) + line_end + other.partition(b"\r\n")[2]


def _key(reply: bytes) -> bytes:
    """The key that a reply echoes."""
    return next(word for word in reply.partition(b"\r\n")[0].split() if word.startswith(b"k"))
