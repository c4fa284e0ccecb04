"""Where a command or a reply of memcached's protocol ends, for those that stand between the two. No I/O."""

LISTED = (b"STAT ", b"key=", b"mg ")
"""How a line begins that another one will follow: figures, and the keys of a dump."""

LIST_END = b"\nE"
"""Before its last line: END, EN, ERROR."""


class Commands:
    """Cuts what a client sends into commands; of each its kind and its key."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The commands that are complete now."""
        self._rest += data
        commands = []
        at = 0
        while (end := self._rest.find(b"\n", at)) >= 0:
            words = self._rest[at:end].split()
            end += 1
            if words and words[0] == b"ms" and len(words) > 2 and words[2].isdigit():
                end += int(words[2]) + 2
                if end > len(self._rest):
                    break
            commands.append((_kind(words), words[1] if len(words) > 1 else b""))
            at = end
        self._rest = self._rest[at:]
        return commands


class Replies:
    """Cuts what a node sends into replies: a line, with the value that follows it if there is one.

    A list (figures, keys) comes in pieces of whole lines; only its last line counts as a reply.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The replies that are complete now."""
        self._rest += data
        replies = []
        at = 0
        while (end := self._rest.find(b"\n", at)) >= 0:
            end += 1
            line = self._rest[at:end]
            if line.startswith(b"VA "):
                end += int(line.split()[1]) + 2
                if end > len(self._rest):
                    break
            elif line.startswith(LISTED):
                # A dump may have 100,000 lines; whoever stands in the middle must not take its time over each.
                last = self._rest.find(LIST_END, at)
                end = 1 + (last if last >= 0 else self._rest.rfind(b"\n"))
            replies.append(self._rest[at:end])
            at = end
        self._rest = self._rest[at:]
        return replies


def is_listed(reply: bytes) -> bool:
    """Whether it is a piece of a list that goes on."""
    return reply.startswith(LISTED)


def _kind(words: list[bytes]) -> str:
    if not words:
        return "empty"
    if words[0] not in (b"mg", b"ms"):
        return words[0].decode("latin-1")
    if len(words) > 1 and words[1].endswith(b":node"):
        return "mark"
    if words[0] == b"mg":
        return "get"
    if b"ME" in words:
        return "add"
    return "cas" if any(word.startswith(b"C") for word in words[3:]) else "bury"
