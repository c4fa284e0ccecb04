"""`memsession refill`: what the upkeep of the web servers does by itself, now, and for everybody to see.

All sessions that belong on a node are compared with the copies on the other nodes, and what it lacks is copied there:
by the chores that web servers run, under the lease that they ask for, so that one of all works at a time.

Usually a web server has the lease and keeps it. Then nothing is done here: with `--wait` that one is asked to look
through the nodes, by word in the pool's status that they may have missed something, and is waited for. If it dies
meanwhile, the lease falls to us and the work is done here.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, NoReturn

import typer

from memsession.blocking import BlockingClient
from memsession.command.chores import performed
from memsession.command.locate import LONGEST
from memsession.command.output import SILENT, USAGE, WELL, WRONG, CommandError, leave, show
from memsession.command.progress import Outcome, Telling
from memsession.command.settings import (
    ConsistencyOption,
    JsonOption,
    PoolArgument,
    PoolOption,
    PoolSettings,
    PrefixOption,
    PreviousOption,
    SecretFileOption,
    duration,
    pool_given,
    secrets,
)
from memsession.command.silence import why_silent
from memsession.lifetime import Lifetime
from memsession.plans.roll_call import roll_call
from memsession.pool import Pool
from memsession.record import Plain
from memsession.upkeep import Chore, Pause, Upkeep
from memsession.upkeep.build import sites
from memsession.upkeep.lease import Lease, LeaseLost
from memsession.upkeep.site import Site
from memsession.upkeep.status import Status, Unread, note, read_status
from memsession.upkeep.tending import Errand, Tending

RATE: Final = Upkeep().rate

LOOK_S: Final = 1.0
"""How often is looked whether another worker is done."""

_OTHER: Final = "another worker has the lease: a web server's upkeep, or another memsession refill"

_SEALED: Final = (
    "the pool's status was written under another secret than this: give the secret key that the web servers have"
)

KeepOption = Annotated[
    str | None,
    typer.Option(
        "--idle",
        metavar="TIME",
        show_default=False,
        help="Lifetime(idle=...) of the application, for instance 30m: so long a copied session is kept, unless it "
        "is used. Without it: 30 days, which only costs memory.",
    ),
]
NodeOption = Annotated[
    list[str] | None, typer.Option("--node", metavar="NAME", help="Only this node; may be given several times.")
]
RateOption = Annotated[
    int, typer.Option("--rate", metavar="N", min=1, max=100_000, help="Sessions looked at in a second, at most.")
]
WaitOption = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="TIME",
        show_default=False,
        help="If another worker has the lease: ask it to look, and wait for so long, for instance 10m.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refilling:
    """Nodes to be refilled, and with what. `telling` hears how it goes."""

    site: Site
    names: tuple[str, ...]
    lease: Lease
    telling: Telling

    def run(self, wait_s: float) -> Chore[bool]:
        """Do it here, or see to it that it is done. Whether it was done here.

        Raises:
            CommandError: too few nodes answer to begin, or the status cannot be read.
            LeaseLost: another worker goes on.
        """
        marks, status = yield from self._looked()
        if (yield from self.lease.get()):
            yield from self._here(marks)
            return True
        return (yield from self._elsewhere(wait_s, marks, status))

    def _looked(self) -> Chore[tuple[Mapping[str, bytes], Status]]:
        site = self.site
        marks: dict[str, bytes] = yield roll_call(site.names, site.mark_key, site.mark())
        if not marks:
            raise CommandError("no node answers: " + "; ".join(why_silent(site.pool, site.names).values()), SILENT)
        status: Status | Unread = yield read_status(site.status_world, site.status_key)
        if status is Unread.SEALED:
            raise CommandError(_SEALED, WRONG)
        if isinstance(status, Unread):
            silent = [name for name in site.names if name not in marks]
            reasons = "; ".join(why_silent(site.pool, silent).values())
            raise CommandError(f"the nodes that keep the pool's status do not answer: {reasons}", WRONG)
        return marks, status

    def _here(self, marks: Mapping[str, bytes]) -> Chore[None]:
        reasons = why_silent(self.site.pool, [name for name in self.names if name not in marks])
        for name in self.names:
            if name in reasons:
                self.telling.broken(name, "silent", f"no answer from {reasons[name]}")
                continue
            # What others know of the node is read anew: it may take long until it is this one's turn.
            now_marks, status = yield from self._looked()
            errand = _errand(self.site, status, name, now_marks)
            if errand is None:
                self.telling.broken(name, "silent", "it did not answer any more")
            elif not errand.sources:
                self.telling.broken(name, "incomplete", "none of the nodes that have its copies answers")
            else:
                yield from Tending().perform(self.site, errand, self.lease.keep)

    def _elsewhere(self, wait_s: float, marks: Mapping[str, bytes], status: Status) -> Chore[bool]:
        """Whether it was done here after all."""
        monotonic = self.site.world.monotonic
        give_up = monotonic() + wait_s
        if wait_s:
            yield from self._leave_word(marks)
            self.telling.say(f"{_OTHER}. It is asked to look through {', '.join(self.names)}.")
            marks, status = yield from self._looked()
        while (unsound := self._unsound(marks, status)) and monotonic() < give_up:
            yield Pause(LOOK_S)
            if (yield from self.lease.get()):
                yield from self._here(marks)
                return True
            marks, status = yield from self._looked()
        reasons = why_silent(self.site.pool, [name for name in self.names if name not in marks])
        for name in self.names:
            if name in reasons:
                self.telling.broken(name, "silent", f"no answer from {reasons[name]}")
            elif name in unsound:
                cure = "it was not done in time" if wait_s else "wait for it with --wait 10m"
                self.telling.broken(name, "left", f"{_OTHER}, and will see to it; {cure}")
            else:
                self.telling.end(Outcome(node=name, state="done"))
        return False

    def _leave_word(self, marks: Mapping[str, bytes]) -> Chore[None]:
        site = self.site
        words: dict[str, Plain] = {
            f"missed:{name}": site.status_world.nonce() for name in self.names if name in marks
        }
        if not (yield note(site.status_world, site.status_key, lambda _: words, site.deadline)):
            raise CommandError("the nodes that keep the pool's status do not answer: try again", WRONG)

    def _unsound(self, marks: Mapping[str, bytes], status: Status) -> list[str]:
        """Nodes that answer and are not sound."""
        return [name for name in self.names if name in marks and not _is_sound(status, name, _text(marks[name]))]


def refill(
    pool: PoolArgument = None,
    pool_option: PoolOption = None,
    node: NodeOption = None,
    rate: RateOption = RATE,
    wait: WaitOption = None,
    idle: KeepOption = None,
    previous: PreviousOption = None,
    prefix: PrefixOption = None,
    consistency: ConsistencyOption = None,
    secret_file: SecretFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring nodes up to date: what the upkeep of the web servers does by itself, now.

    Every session that belongs on a node is compared with its other copies,
    and copied where it is missing or older. Only one worker of all does that
    at a time, usually a web server: see --wait. It needs the application's
    secret key.

    Exit code: 0 all nodes are complete, 1 one is not, for the reason that is
    told, 2 called wrongly, 3 no node answers.
    """
    given = PoolSettings(prefix=prefix, previous=previous, consistency=consistency)
    asked = pool_given(pool, pool_option, settings=given)
    keys = secrets(secret_file)
    wait_s = duration(wait, "--wait").total_seconds() if wait else 0.0
    lifetime = Lifetime(idle=duration(idle, "--idle") if idle else LONGEST, absolute=LONGEST)
    names = _chosen(asked, node or ())
    if asked.copies == 1 and asked.previous is None:
        show(_data([], True), "Each session has one copy (copies=1), so there is nothing to refill from.", as_json)
        leave(WELL)
    client = BlockingClient(asked, observe=_nobody)
    with Telling(quiet=as_json) as telling:
        site = sites(keys=keys, lifetime=lifetime, senses=client, observe=telling, rate=rate)(asked)
        lease = Lease(site.status_world, site.status_key, site.status_world.nonce())
        here = _performed(Refilling(site=site, names=names, lease=lease, telling=telling), wait_s, client)
    _conclude([telling.outcomes[name] for name in names], here, telling, as_json)


def _conclude(outcomes: list[Outcome], here: bool, telling: Telling, as_json: bool) -> NoReturn:
    complete = sum(outcome.is_complete for outcome in outcomes)
    if as_json:
        show(_data(outcomes, here), "", as_json)
    else:
        telling.say(f"{complete} of {len(outcomes)} nodes complete.")
    leave(WELL if complete == len(outcomes) else WRONG)


def _performed(refilling: Refilling, wait_s: float, client: BlockingClient) -> bool:
    """Whether it was done here. The lease is given back, and the client closed."""
    pool, telling = refilling.site.pool, refilling.telling
    try:
        return performed(refilling.run(wait_s), client, pool)
    except LeaseLost:
        for name in refilling.names:
            if name not in telling.outcomes:
                telling.broken(name, "left", f"{_OTHER}, and goes on with it")
        return True
    finally:
        performed(refilling.lease.give_back(), client, pool)
        client.close()


def _chosen(pool: Pool, wanted: Collection[str]) -> tuple[str, ...]:
    names = tuple(node.name for node in pool.all_nodes)
    for name in wanted:
        if name not in names:
            raise CommandError(f'--node: the pool has no "{name}"; it has {", ".join(names)}', USAGE)
    return tuple(name for name in names if name in wanted) if wanted else names


def _errand(site: Site, status: Status, name: str, marks: Mapping[str, bytes]) -> Errand | None:
    """To compare the node with all others that answer, whatever is known of it. None: it does not answer."""
    if name not in marks:
        return None
    others = [other for other in site.names if other != name]
    sound, mark = status.sound.get(name), _text(marks[name])
    return Errand(
        node=name,
        why="forgot" if sound is None or sound.mark != mark else "missed",
        mark=mark,
        missed=status.missed.get(name, ""),
        sources=tuple(other for other in others if other in marks),
        left=tuple(other for other in others if other not in marks),
        answered=frozenset(marks),
    )


def _is_sound(status: Status, name: str, mark: str) -> bool:
    """Whether the node has all its copies, as those know who have looked."""
    sound = status.sound.get(name)
    known = sound is not None and (sound.mark, sound.missed) == (mark, status.missed.get(name, ""))
    return known and not (sound and sound.sources)


def _text(mark: bytes) -> str:
    return mark.decode("ascii", "replace")


def _data(outcomes: list[Outcome], here: bool) -> dict[str, Any]:
    return {
        "complete": all(outcome.is_complete for outcome in outcomes),
        "done_here": here,
        "nodes": [outcome.data for outcome in outcomes],
    }


def _nobody(_: object) -> None:
    """Nobody is told of what the client meets: the outcomes say it."""
