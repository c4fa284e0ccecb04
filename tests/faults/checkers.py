"""What a history must not contain, in the manner of Jepsen's checkers. Each returns figures, by name; most must be 0.

    lost      confirmed, and not there when everything has healed
    unseen    confirmed before a request began, and not shown by it
    back      a counter that showed less than before
    wrong     a value that nobody can have written: a counter beyond all attempts, a key that nobody set
    revived   an ended session that is shown when everything has healed
    untold    an ended session that was shown before
    foreign   another visitor's data
    dropped   a cookie that was deleted although the session has not ended
    error     operations answered 5xx or not at all

With `sides` the web servers were cut off from each other for a while: then what one of them confirmed is asked of the
other only when everything has healed.
"""

from collections import Counter
from collections.abc import Iterable

from tests.faults.history import FINAL, History, Op

ENDS = ("logout", "rotate")
"""Operations after which the old cookie is worth nothing."""

Figures = dict[str, int]


def check_all(history: History, *, sides: bool = False) -> Figures:
    """All checkers that find something to judge, and what holds for every history."""
    figures: Counter[str] = Counter()
    for check in (check_logins, check_counters, check_sets, check_ended, check_births):
        figures.update(check(history, sides=sides))
    figures.update(check_visitors(history))
    return dict(figures)


def check_visitors(history: History) -> Figures:
    """Nobody sees somebody else's data, loses a cookie, or gets an error."""
    foreign = sum(op.owner not in (None, op.session) for op in history.ops)
    over = {op.session for op in history.of(*ENDS)}
    dropped = sum(op.cookie == "deleted" and op.session not in over for op in history.ops)
    return {"foreign": foreign, "dropped": dropped, "error": sum(op.is_error for op in history.ops)}


def check_logins(history: History, *, sides: bool = False) -> Figures:
    """W1: who has logged in is logged in (`read` shows the user)."""
    figures = {"lost": 0, "unseen": 0}
    for session, ops in history.by_session("login", "who").items():
        logins = [op for op in ops if op.kind == "login" and op.ok]
        for op in ops:
            known = any(_before(login, op, sides) for login in logins)
            if op.kind == "who" and op.ok and known and op.seen != session:
                figures["lost" if op.phase == FINAL else "unseen"] += 1
    return figures


def check_counters(history: History, *, sides: bool = False) -> Figures:
    """W2: each session's visitor counts (`incr` shows the number) and reads (`count`), one request after the other.

    A number shown lies between what was confirmed before the request began and all that was tried before it ended.
    """
    figures = {"lost": 0, "unseen": 0, "back": 0, "wrong": 0}
    for ops in history.by_session("incr", "count").values():
        shown: dict[str, int] = {}
        for op in ops:
            if not op.ok:
                continue
            counted = [other for other in ops if other.kind == "incr" and other is not op]
            own = int(op.kind == "incr")
            least = own + sum(other.ok and _before(other, op, sides) for other in counted)
            most = own + sum(other.begun < op.ended and other.outcome != "fail" for other in counted)
            seen = op.seen or 0
            side = op.web if sides and op.phase != FINAL else ""
            figures["back"] += seen < shown.get(side, 0)
            figures["lost" if op.phase == FINAL else "unseen"] += seen < least
            figures["wrong"] += seen > most
            shown[side] = max(seen, shown.get(side, 0))
    return figures


def check_sets(history: History, *, sides: bool = False) -> Figures:
    """W3 (Jepsen's set-full): visitors `add` elements in parallel, `elements` shows all.

    What was confirmed before a reading began must be in it; what is in a reading must have been tried before its end.
    """
    figures = {"lost": 0, "unseen": 0, "wrong": 0}
    for ops in history.by_session("add", "elements").values():
        adds = [op for op in ops if op.kind == "add"]
        for reading in (op for op in ops if op.kind == "elements" and op.ok):
            seen = set(reading.seen or ())
            missing = sum(op.ok and _before(op, reading, sides) and op.value not in seen for op in adds)
            figures["lost" if reading.phase == FINAL else "unseen"] += missing
            tried = {op.value for op in adds if op.begun < reading.ended and op.outcome != "fail"}
            figures["wrong"] += len(seen - tried)
    return figures


def check_ended(history: History, *, sides: bool = False) -> Figures:
    """W4: once a logout or a change of the ID is confirmed, the old cookie (`old`) shows nothing.

    A change of the ID is confirmed by the new cookie: where nothing is known of the session, nothing is renewed.
    """
    figures = {"revived": 0, "untold": 0}
    for ops in history.by_session("logout", "rotate", "old").values():
        ends = [op for op in ops if op.ok and (op.kind == "logout" or (op.kind == "rotate" and op.cookie == "set"))]
        for op in ops:
            if op.kind == "old" and op.ok and op.seen and _any_before(ends, op, sides):
                figures["revived" if op.phase == FINAL else "untold"] += 1
    return figures


def check_births(history: History, *, sides: bool = False) -> Figures:
    """W5: what was put into a new session (`birth`) is there for the next request (`born`)."""
    figures = {"lost": 0, "unseen": 0}
    for session, ops in history.by_session("birth", "born").items():
        births = [op for op in ops if op.kind == "birth" and op.ok]
        for op in ops:
            if op.kind == "born" and op.ok and op.seen != session and _any_before(births, op, sides):
                figures["lost" if op.phase == FINAL else "unseen"] += 1
    return figures


def _any_before(ops: Iterable[Op], reading: Op, sides: bool) -> bool:
    return any(_before(op, reading, sides) for op in ops)


def _before(op: Op, reading: Op, sides: bool) -> bool:
    """Whether a reading had to know of a confirmed operation."""
    return op.ended <= reading.begun and (not sides or op.web == reading.web or reading.phase == FINAL)
