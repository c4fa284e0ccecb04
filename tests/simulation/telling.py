"""Short words for the trace of a run."""

from typing import Any


def told(what: Any) -> str:
    """A command, reply, outcome or record in a few words."""
    name = type(what).__name__
    if hasattr(what, "entries"):
        entries = " ".join(f"{key}:{_entry(entry)}" for key, entry in sorted(what.entries.items()))
        counts = " ".join(f"{key}{dict(sorted(subs.items()))}" for key, subs in sorted(what.counts.items()))
        counts = counts.replace("SubCount", "").replace("'", "")
        return f"<{entries}{' + ' if counts else ''}{counts} seen {what.seen_ms}>"
    if name == "Dead":
        return f"<dead {what.reason.name.lower()} {what.mark[:6]}>"
    if name == "Token":
        return f"#{what.cas}/{what.connection}"
    if isinstance(what, tuple) and hasattr(what, "_asdict"):
        return _fields(name, what._asdict())
    if isinstance(what, tuple):
        return f"({', '.join(map(told, what))})"
    if hasattr(what, "__dataclass_fields__"):
        return _fields(name, {field: getattr(what, field) for field in what.__dataclass_fields__})
    if isinstance(what, frozenset):
        return "{" + ",".join(sorted(map(str, what))) + "}"
    if isinstance(what, dict):
        return "{" + ", ".join(f"{key}: {told(value)}" for key, value in sorted(what.items())) + "}"
    return what if isinstance(what, str) else repr(what)


def _entry(entry: Any) -> str:
    value = "deleted" if entry.deleted else repr(entry.value)
    seen = f" saw {entry.seen_n},{entry.seen_amount}" if entry.seen_n or entry.seen_amount else ""
    return f"{value}@{entry.counter}.{entry.writer}{seen}"


def _fields(name: str, fields: dict[str, Any]) -> str:
    shown = ", ".join(told(value) for field, value in fields.items() if field not in ("node", "ttl") and value != ())
    return f"{name}({shown})"
