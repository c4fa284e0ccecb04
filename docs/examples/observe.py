from collections import Counter

from memsession.events import AnyEvent, log

counts: Counter[str] = Counter()


def observe(event: AnyEvent) -> None:
    counts[type(event).__name__] += 1
    log(event)
