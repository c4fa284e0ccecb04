"""Mutants: the shipped source with one rule broken. Each must be caught by a scenario that the shipped plans pass."""

from dataclasses import dataclass

from .subject import Patch, Subject, patched

PLANS, RECORD = "memsession.plans", "memsession.record"
LOCK, LIFETIME = f"{PLANS}.lock", "memsession.lifetime"
LOAD, SAVE, END, WORLD = f"{PLANS}.load", f"{PLANS}.save", f"{PLANS}.end", f"{PLANS}.world"
MODIFY, MOVE, BIRTH = f"{PLANS}.modify", f"{PLANS}.regenerate", f"{PLANS}.birth"
QUORUM, POOL = f"{PLANS}.quorum", "memsession.pool"
COUNTERS, CHANGES, MERGE = f"{RECORD}.counters", f"{RECORD}.changes", f"{RECORD}.merge"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A named break of one rule, and the scenario that notices it."""

    name: str
    scenario: str
    patches: tuple[Patch, ...]

    def subject(self) -> Subject:
        """The broken copy of the modules."""
        return patched(self.patches)


MUTANTS: dict[str, Mutant] = {}


def _mutant(name: str, scenario: str, *patches: tuple[str, str, str]) -> None:
    assert name not in MUTANTS
    MUTANTS[name] = Mutant(name, scenario, tuple(Patch(*patch) for patch in patches))


# Load and repair

_mutant(
    "one copy is read",
    "stale_return_r2",
    (LOAD, "homes = world.homes(key)\n    copies", "homes = world.homes(key)[:1]\n    copies"),
)
_mutant(
    "a repair refreshes tokens without merging",
    "split_brain_r2",
    (LOAD, "                merged = merge_live(merged, theirs)", "                pass"),
)
_mutant("nothing is repaired", "rolling_restarts_r2", (LOAD, "range(REPAIR_ROUNDS_MAX)", "range(0)"))
_mutant(
    "a token counts on any connection",
    "tokens_across_restarts_r2",
    (LOAD, "Copy(reply.token, record)", "Copy(Token(reply.token.cas, 0), record)"),
)
_mutant(
    "a miss is absence though a node is silent",
    "doubt",
    (LOAD, "return Absent() if len(copies) == homes else Doubt()", "return Absent()"),
)
_mutant(
    "an old copy is the end though a node is silent",
    "visits_apart_r2",
    (LOAD, "return Doubt(unreadable) if unreadable or len(copies) < homes else", "return"),
)
_mutant(
    "homes that have not answered are not asked again",
    "false_doubt",
    (LOAD, "elif len(copies) < len(homes) and (", "elif False and ("),
)
_mutant(
    "a reply that was lost is not asked for again",
    "broken_replies_r2",
    (LOAD, "elif len(copies) < len(homes) and (", "elif False and ("),
)
_mutant(
    "a birth that nobody confirmed is not begun again",
    "birth_unanswered_r2",
    (BIRTH, "again = not copies or (", "again = copies and ("),
)
_mutant(
    "a value that cannot be read is not asked for again",
    "spoilt_beside_stale_r2",
    (LOAD, "    if spoilt:", "    if False:"),
)
_mutant(
    "an unreadable value is a miss",
    "corrupt_everywhere",
    (
        LOAD,
        "copies[node] = Copy(reply.token, record)",
        "copies[node] = Copy(reply.token, record) if record else None",
    ),
)
_mutant(
    "ends of life are left to memcached",
    "idle_and_late_refill",
    (LOAD, "record.seen_ms + world.idle_ms(record) <= world.now_ms()", "False"),
    (LOAD, "if merged.deadline_ms <= world.now_ms():", "if False:"),
)
_mutant(
    "the refill copies raw values",
    "refill_and_logout_r2",
    (LOAD, "import Add, Cas", "import Add, Bury, Cas"),
    (
        LOAD,
        "    return load(world, key)\n",
        (
            "    copies, _ = yield from read(world, key, world.homes(key))\n"
            "    held = [copy.record for copy in copies.values() if copy is not None]\n"
            "    empty = [node for node, copy in copies.items() if copy is None]\n"
            "    if held and empty:\n"
            "        yield [Bury(node, key, held[0], world.lifetime.live_ttl_s) for node in empty]\n"
            "    return Doubt()\n"
        ),
    ),
)

# Save

_mutant(
    "a save refreshes tokens without merging",
    "parallel_writers_r2",
    (SAVE, "wanted = _on_top(wanted, theirs)", "pass"),
)
_mutant(
    "a save sets blindly",
    "logout_race_r2",
    (SAVE, "import Add, Cas", "import Add, Bury, Cas"),
    (
        SAVE,
        "[Cas(node, key, value, ttl, token) for node, token in tokens.items()]",
        "[Bury(node, key, value, ttl) for node in tokens]",
    ),
)
_mutant(
    "a save adds where nothing is",
    "total_restart_after_logout_r2",
    (SAVE, "isinstance(reply, Conflict)]", "isinstance(reply, Conflict | NotFound)]"),
    (SAVE, "import Add, Cas, Command", "import Add, Cas, NotFound, Command"),
    (
        SAVE,
        "            if copy is None:\n                continue",
        "            if copy is None:\n                tokens[node] = None\n                continue",
    ),
    (
        SAVE,
        "[Cas(node, key, value, ttl, token) for node, token in tokens.items()]",
        "[Cas(node, key, value, ttl, t) if t else Add(node, key, value, ttl) for node, t in tokens.items()]",
    ),
)
_mutant(
    "a save stops when one home has confirmed",
    "parallel_writers_r2",
    (SAVE, "        if not refused or", "        if confirmed or not refused or"),
)
_mutant(
    "a save stops where its keys are visible",
    "counters_hot",
    (
        SAVE,
        "                case Live() as theirs:\n",
        (
            "                case Live() as theirs if merge_live(wanted, theirs).entries == theirs.entries:\n"
            "                    confirmed.add(node)\n"
            "                    continue\n"
            "                case Live() as theirs:\n"
        ),
    ),
)
_mutant(
    "gone is said though a home was not asked",
    "logout_race_lossy",
    (SAVE, "unknown = len(tokens) < len(world.homes(key))", "unknown = not tokens"),
)

# Ending

_mutant("a logout deletes", "stale_return_r2", (END, "Bury(node, key, value, ttl)", "Bury(node, key, value, -1)"))
_mutant(
    "a tombstone is kept for the idle time",
    "tombstone_outlives_copies",
    (END, "world.lifetime.tombstone_ttl_s", "world.lifetime.live_ttl_s"),
)
_mutant(
    "a tombstone is shortened when it is handed on",
    "planted_tombstones",
    (WORLD, "self.lifetime.tombstone_ttl_s if isinstance(record, Dead) else ", ""),
)

# Regenerate

_mutant(
    "regenerate ends the old ID blindly",
    "regenerate_r2",
    (MOVE, "import Cas, Conflict", "import Bury, Cas, Conflict"),
    (
        MOVE,
        "[Cas(node, move.old, value, ttl, token) for node, token in known.items()]",
        "[Bury(node, move.old, value, ttl) for node in known]",
    ),
)
_mutant(
    "regenerate merges sub-counts unfolded",
    "regenerate_r2",
    (MOVE, "merge_live(loaded.record, move.folded(loaded.record))", "merge_live(loaded.record, move.record)"),
)
_mutant(
    "regenerate folds below what the new ID holds",
    "regenerate_r2",
    (CHANGES, "top = max(floor, record.top, above.top if above else 0) + 1", "top = record.top + 1"),
)
_mutant(
    "regenerate ignores who was first",
    "regenerate_parallel_r2",
    (MOVE, "if move.met and max(move.met) != move.mine:", "if False:"),
)
_mutant(
    "regenerate concludes with growth unsaved",
    "regenerate_faults_r2",
    (MOVE, "if not enough(world, move.old, move.ended) or move.grown:", "if False:"),
)
_mutant(
    "regenerate gives up when one home is ended",
    "regenerate_parallel_r2",
    (MOVE, "move.deadline + (RESERVE_S if move.ended else 0.0)", "(0.0 if move.ended else move.deadline)"),
)

# Modify

_mutant(
    "modify switches its orderer silently",
    "modify_lossy",
    (
        MODIFY,
        "            case _:\n                break\n",
        (
            "            case _:\n"
            "                del found.tokens[orderer]\n"
            "                orderer = next((node for node in world.homes(key) if node in found.tokens), None)\n"
        ),
    ),
)
_mutant(
    "modify computes on what it read first",
    "modify_healthy_r2",
    (MODIFY, "merged = merge_live(found.record, theirs)", "merged = found.record"),
)

# Counters

_mutant(
    "a counter is raised from what was read",
    "counters_hot",
    (COUNTERS, "SubCount(before.sub.n + 1, before.sub.amount + by)", "SubCount(1, by)"),
    (
        CHANGES,
        "            counts[key] = {**counts.get(key, {}), name: sub}",
        (
            "            read = counts.get(key, {}).get(name, SubCount(0, 0))\n"
            "            more = SubCount(read.n + 1, read.amount + sub.amount)\n"
            "            counts[key] = {**counts.get(key, {}), name: more}"
        ),
    ),
)
_mutant(
    "the memory is kept across a fork",
    "counters_fork",
    (COUNTERS, "        self._lock = threading.Lock()\n        self._own = OrderedDict()", "        return"),
)
_mutant(
    "an assignment drops the sub-counts",
    "counters_assigned_r2",
    (
        CHANGES,
        "    counts = record.counts\n",
        (
            "    assigned = {*changes.puts, *changes.deletes}\n"
            "    counts = {key: subs for key, subs in record.counts.items() if key not in assigned}\n"
        ),
    ),
)
_mutant(
    "an assignment forgets what it saw",
    "counters_assigned_r2",
    (CHANGES, "    if not subs:\n        return 0, 0\n", "    if True:\n        return 0, 0\n"),
)
_mutant(
    "the greater amount wins",
    "counters_hot",
    (MERGE, "both[writer][0] < sub[0]", "both[writer][1] < sub[1]"),
)

# Limits of its own

_mutant(
    "a tombstone is kept for the application's absolute life",
    "remembered_tombstone",
    (
        LIFETIME,
        "return -(-self._longest // timedelta(seconds=1))",
        "return -(-self.absolute // timedelta(seconds=1))",
    ),
)
_mutant(
    "a session's own idle limit is ignored",
    "remembered_and_healthy",
    (WORLD, "return min(record.idle_ms, self.lifetime.longest_ms)", "return self.lifetime.idle_ms"),
)
_mutant(
    "memcached keeps a session for the application's idle time",
    "remembered_and_healthy",
    (WORLD, "kept_s(self.idle_ms(record))", "self.lifetime.live_ttl_s"),
)
_mutant(
    "a save keeps a session for the application's idle time",
    "remembered_and_healthy",
    (SAVE, "    ttl = world.ttl_s(wanted)\n    while", "    ttl = world.lifetime.live_ttl_s\n    while"),
)
_mutant(
    "a moved session is kept for the application's idle time",
    "regenerate_with_limits_r2",
    (SAVE, "    ttl = world.ttl_s(wanted)\n    replies", "    ttl = world.lifetime.live_ttl_s\n    replies"),
)
_mutant(
    "modify keeps a session for the application's idle time",
    "own_lifetimes_r2",
    (MODIFY, "world.ttl_s(wanted)", "world.lifetime.live_ttl_s"),
)
_mutant(
    "a change drops the session's own idle limit",
    "regenerate_with_limits_r2",
    (CHANGES, "record.doubted, record.idle_ms)", "record.doubted)"),
)
_mutant(
    "a merge drops the session's own idle limit",
    "own_lifetimes_r2",
    (MERGE, "        max(a.idle_ms, b.idle_ms),\n", ""),
)
_mutant(
    "the limits are given once and lost when the session grows",
    "regenerate_with_limits_r2",
    (MOVE, "_limited(merge_live(move.record, theirs), move.limits)", "merge_live(move.record, theirs)"),
)
_mutant(
    "the limits are given only when the session grows",
    "regenerate_with_limits_r2",
    (MOVE, "    record = _limited(record, limits)\n", ""),
)
_mutant(
    "regenerate begins the session anew",
    "regenerate_with_limits_r2",
    (
        MOVE,
        "    record = _limited(record, limits)\n",
        "    record = replace(_limited(record, limits), created_ms=world.now_ms())\n",
    ),
)

# The lock

_mutant(
    "a lock is released blindly",
    "lock_slow_holder_r2",
    (LOCK, "held is not None and held.owner == owner:", "held is not None:"),
)
_mutant(
    "anybody's lock counts as one's own",
    "lock_healthy_r2",
    (LOCK, 'held.owner not in {owner, ""} and', "False and"),
)
_mutant(
    "a lock does not run out",
    "lock_holder_dies_r2",
    (LOCK, "held.owner not in done and held.deadline_ms > now_ms)", "held.owner not in done)"),
)
_mutant(
    "a lock is put over another one",
    "lock_healthy_r2",
    (LOCK, "import Add, Cas", "import Add, Bury, Cas"),
    (
        LOCK,
        "return Add(node, lock, value, ttl) if copy is None else Cas(node, lock, value, ttl, copy.token)",
        "return Bury(node, lock, value, ttl)",
    ),
)
_mutant(
    "the lock is at one home only",
    "lock_node_fails_r2",
    (
        LOCK,
        "    homes, lock = world.homes(key), key + SUFFIX\n",
        "    homes, lock = world.homes(key)[:1], key + SUFFIX\n",
    ),
)
_mutant(
    "the other homes are not locked",
    "lock_node_fails_r2",
    (LOCK, "    if others:\n", "    if False:\n"),
)
_mutant(
    "a refusal at another home is ignored",
    "lock_thought_out_r2",
    (LOCK, "if any(isinstance(reply, Conflict | NotFound) for reply in replies):", "if False:"),
)
_mutant(
    "a holder does not ask whether it still has the lock",
    "lock_slow_holder_r2",
    (LOCK, "return any(held.deadline_ms > now_ms + for_ms for held in mine)", "return True"),
    (LOCK, "        return False\n", "        return True\n"),
)
_mutant(
    "a lock that has run out is still held",
    "lock_slow_holder_r2",
    (LOCK, "return any(held.deadline_ms > now_ms + for_ms for held in mine)", "return bool(mine)"),
)
_mutant(
    "a release is not known at a home that hung",
    "lock_node_fails_r2",
    (LOCK, " and held.owner not in done", ""),
)
_mutant(
    "the word of a release is not handed on",
    "lock_node_fails_r2",
    (LOCK, "_still_told(copies, now_ms) if len(copies) < len(homes) else {}", "{}"),
)
_mutant(
    "who is refused counts as released for ever",
    "lock_thought_out_r2",
    (LOCK, "word = {owner: held.deadline_ms} if done else {}", "word = {owner: held.deadline_ms}"),
)

# Time, placement, birth

_mutant(
    "every web server keeps its own time",
    "wrong_clock_r2",
    ("memsession.clock", "return nodes[0] if len(nodes) == 1 else statistics.median([*nodes, own])", "return own"),
)
_mutant(
    "the previous pool is forgotten",
    "pool_all_nodes_replaced",
    (
        "memsession.pool",
        "        if self.previous is None:\n            return own",
        "        if True:\n            return own",
    ),
)
_mutant(
    "a session is born anywhere",
    "birth_while_nodes_are_away",
    (BIRTH, "        if up == len(homes):\n", "        if True:\n"),
)

# Strict mode

_mutant(
    "strict: a miss is a vote",
    "strict_forgotten_logout",
    (LOAD, "return proven(world, key, having, [", "return proven(world, key, copies, ["),
)
_mutant(
    "strict: a single copy is repaired by the refill",
    "strict_forgotten_logout",
    (LOAD, "import Collection, Sequence\n", "import Collection, Sequence\nfrom dataclasses import replace\n"),
    (LOAD, "    return load(world, key)\n", "    return load(replace(world, home_sets=None), key)\n"),
)
_mutant(
    "strict: one tombstone is not enough",
    "strict_forgotten_logout",
    (
        LOAD,
        "        case Dead():\n            yield from _plant(world, key, merged, copies)",
        (
            "        case Dead() if not enough(world, key, [n for n, c in copies.items() if c and c[1] == merged]):\n"
            "            return NoMajority()\n"
            "        case Dead():\n            yield from _plant(world, key, merged, copies)"
        ),
    ),
)
_mutant(
    "strict: misses of a majority are absence",
    "strict_two_forget",
    (LOAD, "return Absent() if len(copies) == homes else Doubt()", "return Absent()"),
)
_mutant(
    "strict: a single copy is shown when all homes answered",
    "strict_two_forget",
    (LOAD, "and not _is_proven(world, key, copies):", "and len(copies) < len(homes):"),
)
_mutant(
    "strict: nothing is asked again",
    "strict_thought_out",
    (LOAD, "and _is_undecided(world, key, copies, merged):", "and False:"),
)
_mutant(
    "strict: an empty home is filled at once",
    "strict_slow_repair",
    (LOAD, "if world.home_sets is not None and None in copies.values():", "if False:"),
)
_mutant(
    "strict: a home that is empty again is filled again",
    "strict_slow_repair",
    (LOAD, "if rounds and world.home_sets is not None:", "if False:"),
)
_mutant(
    "strict: a save is confirmed by one home",
    "strict_confirmed_once",
    (SAVE, "    if enough(world, key, confirmed):\n", "    if confirmed:\n"),
)
_mutant(
    "strict: a logout is confirmed by one home",
    "strict_confirmed_once",
    (END, "enough(world, key, confirmed)", "bool(confirmed)"),
)
_mutant(
    "strict: a birth is confirmed by one home",
    "strict_birth_in_split",
    (SAVE, "if enough(world, key, confirmed) else", "if confirmed else"),
)
_mutant(
    "strict: a birth gives up where most homes are thought out",
    "strict_thought_out",
    (SAVE, "force = not enough(world, key, [node for node in homes if world.is_up(node)])", "force = False"),
)
_mutant(
    "strict: modify is confirmed by its orderer",
    "strict_modify",
    (MODIFY, "done=[orderer]", "done=world.homes(key)"),
)
_mutant(
    "strict: regenerate is done when one home is ended",
    "strict_regenerate_in_split",
    (MOVE, "not enough(world, move.old, move.ended) or", "not move.ended or"),
)
_mutant(
    "strict: a write needs a majority in one pool only",
    "strict_pool_split",
    (QUORUM, "return all(_most(homes, nodes)", "return any(_most(homes, nodes)"),
)
_mutant(
    "strict: a majority in one pool is shown though another may object",
    "strict_pool_split",
    (QUORUM, "return any(believing) and all(", "return any(believing) or all("),
)
_mutant(
    "strict: a pool without the session objects",
    "strict_pool_all_nodes_replaced",
    (QUORUM, "    if all(node in having or node in empty for node in homes):\n        return True\n", ""),
    (QUORUM, "return _most(homes, empty) and not any(", "return False and not any("),
)
_mutant(
    "strict: the homes of the previous pool have no say",
    "strict_pool_all_nodes_replaced",
    (POOL, "(own(key), *previous.home_sets(key))", "(own(key),)"),
)

# Behind the requests

UPKEEP = "memsession.upkeep"
REFILL, TENDING, MOVING = f"{UPKEEP}.refill", f"{UPKEEP}.tending", f"{UPKEEP}.moving"
_mutant("a node is listed once", "upkeep_refill_n4", (REFILL, "LISTINGS_MAX = 5", "LISTINGS_MAX = 1"))
_mutant(
    "a node is sound though another one could not be asked",
    "upkeep_refill_n4",
    (TENDING, "sources = (*errand.left, *done.unlisted)", "sources = ()"),
)
_mutant(
    "nobody notes that a node missed something",
    "upkeep_return",
    (f"{UPKEEP}.keeper", "        if self._troubled:\n", "        if False:\n"),
)
_mutant(
    "the lease of a worker that died never ends",
    "upkeep_refill",
    (f"{UPKEEP}.lease", "LEASE_S = 15.0", "LEASE_S = 10_000.0"),
)
_mutant(
    "copies are alike though one is missing",
    "upkeep_refill",
    (f"{PLANS}.mend", "(len(hits) == len(answers) and all", "(all"),
)
_mutant(
    "a flushed node is not noticed",
    "upkeep_refill",
    (TENDING, "if sound is None or sound.mark != mark:", "if sound is None:"),
)
_mutant(
    "sessions are moved while a web server uses the old pool",
    "upkeep_move",
    (MOVING, "or _others_may_be_alive(site, status, now_ms)", "or False"),
)
_mutant(
    "a move is done when the worker begins it",
    "upkeep_move",
    (
        MOVING,
        "                yield from self._scan(site, pulse)\n",
        "                pass\n",
    ),
)
_mutant(
    "a save leaves out a home that was slow",
    "slow_home_r2",
    (SAVE, "    if tokens and len(tokens) + len(done) < len(world.homes(key)):", "    if False:"),
)
_mutant(
    "a dead node that was replaced stops the move",
    "upkeep_replace",
    (REFILL, "            if node in self.nodes:\n", "            if True:\n"),
)
