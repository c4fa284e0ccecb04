"""memcached's meta protocol, without a socket: commands to bytes, bytes to replies."""

from memsession.wire.encode import AskStats, AskVersion, Mark, Request, checked_key, checked_ttl, encode
from memsession.wire.parser import Answer, Parser, ProtocolError, Stats, Version

__all__ = [
    "Answer",
    "AskStats",
    "AskVersion",
    "Mark",
    "Parser",
    "ProtocolError",
    "Request",
    "Stats",
    "Version",
    "checked_key",
    "checked_ttl",
    "encode",
]
