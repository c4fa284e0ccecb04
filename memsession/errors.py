"""Everything memsession can raise, one family. Each message names the cure."""


class SessionError(Exception):
    """The family: `except SessionError` catches all of memsession's own errors."""


class ConfigurationError(SessionError, ValueError):
    """A setting is missing, out of range, or contradicts another one. Raised at start, never while serving."""


class PoolUnavailable(SessionError):
    """None of the session's nodes could be reached (in strict mode: no majority), so nothing was confirmed.

    As an HTTP answer this is 503: the visitor's cookie is kept and the next request may well succeed.
    """


class UpdateUnconfirmed(SessionError):
    """`modify()` could not find out whether its result was stored: it may have happened once, or not at all."""


class SessionBusy(SessionError):
    """In exclusive mode: another request held the session's lock for longer than `Exclusive(wait=...)` allows.

    As an HTTP answer this is 503: nothing was read or written.
    """


class LockLost(SessionError):
    """In exclusive mode: the request took longer than `Exclusive(expire=...)`, so its lock ran out.

    Nothing was written.

    As an HTTP answer this is 503; make the request shorter or `expire` longer.
    """


class UnfitValue(SessionError, ValueError):
    """`session.as_(Model)`: what the session holds under `key` does not fit the model."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"session value {key}: {problem}")
        self.key = key


class UnstorableValue(SessionError, TypeError):
    """A value cannot be stored as it is. `path` names it, for instance `cart.items[2]`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"session value {path}: {problem}")
        self.path = path


class SessionTooLarge(SessionError, ValueError):
    """The session would be stored as more bytes than allowed; nothing was written, the old content stands."""

    def __init__(self, size: int, limit: int, largest: str = "") -> None:
        which = f"; the largest keys: {largest}" if largest else ""
        super().__init__(
            f"the session takes {size:,} bytes, the limit is {limit:,}{which}: "
            f"keep large things in a database and their key in the session, or raise Pool(max_bytes=...) "
            f"(1,000,000 at most)"
        )
        self.size = size
        self.limit = limit
