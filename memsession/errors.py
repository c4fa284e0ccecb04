"""Everything memsession can raise, one family. Each message names the cure."""


class SessionError(Exception):
    """The family: `except SessionError` catches all of memsession's own errors."""


class ConfigurationError(SessionError, ValueError):
    """A setting is missing, out of range, or contradicts another one. Raised at start, never while serving."""


class PoolUnavailable(SessionError):
    """None of the session's nodes could be reached, so nothing was confirmed.

    As an HTTP answer this is 503: the visitor's cookie is kept and the next request may well succeed.
    """


class UpdateUnconfirmed(SessionError):
    """`modify()` could not find out whether its result was stored: it may have happened once, or not at all."""


class UnstorableValue(SessionError, TypeError):
    """A value cannot be stored as it is. `path` names it, for instance `cart.items[2]`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"session value {path}: {problem}")
        self.path = path


class SessionTooLarge(SessionError, ValueError):
    """The session would be stored as more bytes than allowed; nothing was written, the old content stands."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the session takes {size:,} bytes, the limit is {limit:,}: keep large things in a database and their "
            f"key in the session, or raise Pool(max_bytes=...) (1,000,000 at most)"
        )
        self.size = size
        self.limit = limit
