"""What one fake memcached process holds: items with CAS numbers and expiry, as memcached 1.6.18 keeps them.

A `memory://` node knows the four commands of plans and nothing of bytes; this one answers whatever memcached is
asked, so it also keeps flags, items that stay for ever, and dates as expiry. When it holds more than `items_max`, the
least used one goes.

Time is counted in seconds of the process, which begin at 2, as memcached's own: so 0 can mean never.
"""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes

ITEM_BYTES_MAX: Final = 1_048_576
"""An item with all that memcached adds to it; `-I` is not changed."""

TTL_S_MAX: Final = 2_592_000
"""What is more is a date."""

NEVER: Final = 0.0
AT_ONCE: Final = 1.0

_COUNTS: Final = (
    *("curr_connections", "total_connections", "cmd_get", "cmd_set", "get_hits", "get_misses"),
    *("total_items", "evictions"),
)
_HEADER_BYTES: Final = 56
_FLAGS_BYTES: Final = 4
_FIRST_SECOND: Final = 2.0


@dataclass(slots=True)
class Item:
    """One item. `expires` is `NEVER` or a second of the process."""

    value: bytes
    flags: int
    cas: int
    expires: float
    stored_at: int
    fetched: bool = False


def item_bytes(key: bytes, value_bytes: int, flags: int) -> int:
    """What memcached counts for an item, the line end of the value included."""
    return _HEADER_BYTES + len(key) + 1 + (_FLAGS_BYTES if flags else 0) + value_bytes + 2


class Items:
    """See the top of this file. A new one is a new process: empty, CAS numbers from 1."""

    def __init__(self, items_max: int) -> None:
        self.counts: Counter[str] = Counter()
        """What `stats` tells besides, by its name there."""
        self._items: OrderedDict[bytes, Item] = OrderedDict()
        self._items_max = items_max
        self._cas = 0
        self._started = time.monotonic() - _FIRST_SECOND
        self._started_unix = time.time() - _FIRST_SECOND

    def find(self, key: bytes) -> Item | None:
        """The item, if there is one that has not expired."""
        item = self._items.get(key)
        if item is None:
            return None
        if item.expires and item.expires <= self.now():
            del self._items[key]
            return None
        return item

    def use(self, key: bytes, item: Item) -> None:
        """It was fetched: of all items it is the last to go."""
        item.fetched = True
        self._items.move_to_end(key)

    def store(self, key: bytes, item: Item) -> int:
        """Store over whatever is there; the new CAS number."""
        item.cas, item.stored_at = self._next_cas(), int(self._started_unix + self.now())
        self._items[key] = item
        self._items.move_to_end(key)
        self.counts["total_items"] += 1
        if len(self._items) > self._items_max:
            self._items.popitem(last=False)
            self.counts["evictions"] += 1
        return self._cas

    def drop(self, key: bytes) -> None:
        """Delete it, if it is there."""
        self._items.pop(key, None)

    def flush(self) -> None:
        """Forget all items. It takes a CAS number, and these go on."""
        self._items.clear()
        self._next_cas()

    def now(self) -> float:
        """Seconds of the process."""
        return time.monotonic() - self._started

    def expiry(self, ttl: int) -> float:
        """When an item expires that was stored with this number: seconds from now, or a date if it is large."""
        if ttl == 0:
            return NEVER
        if ttl < 0 or TTL_S_MAX < ttl <= self._started_unix:
            return AT_ONCE
        return ttl - self._started_unix if ttl > TTL_S_MAX else self.now() + ttl

    def left(self, item: Item) -> int:
        """Seconds until it expires; -1 if it does not."""
        return -1 if item.expires == NEVER else math.ceil(item.expires - self.now()) % 2**32

    def keys(self) -> list[bytes]:
        """The keys of all items that have not expired."""
        return [key for key in tuple(self._items) if self.find(key) is not None]

    def listing(self) -> Iterator[bytes]:
        """A line for each item, as `lru_crawler metadump` writes it. All are said to be of slab class 1."""
        for key in self.keys():
            item = self._items[key]
            expires = -1 if item.expires == NEVER else math.ceil(self._started_unix + item.expires)
            yield (
                f"key={quote_from_bytes(key, safe='')} exp={expires} la={item.stored_at} cas={item.cas} "
                f"fetch={'yes' if item.fetched else 'no'} cls=1 size={item_bytes(key, len(item.value), item.flags)}\n"
            ).encode()

    def figures(self) -> dict[str, int]:
        """What `stats` tells, by name."""
        return {
            "uptime": int(self.now()),
            "time": int(time.time()),
            "curr_items": len(self.keys()),
            **{name: self.counts[name] for name in _COUNTS},
        }

    def _next_cas(self) -> int:
        self._cas += 1
        return self._cas
