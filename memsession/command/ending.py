"""`memsession end`: a session is over on all its nodes, as after a logout.

The copies are read first: so nobody ends a session that is not there, or with a secret that is not the application's,
and a session that this one was begun in doubt about ends with it. Then a tombstone goes to all homes at once. It is
kept for as long as any session can live.

For nodes that did not take it, word is left in the pool's status that they have missed something: whichever web
server does the upkeep scans them when they are back. It does not depend on a web server that saw them fail.
"""

import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from memsession.blocking import BlockingClient
from memsession.command.locate import LONGEST, silences
from memsession.command.output import USAGE, WELL, WRONG, CommandError, leave, show
from memsession.command.session_key import CookieNameOption, SessionArgument, key_of
from memsession.command.settings import (
    ConsistencyOption,
    JsonOption,
    PoolOption,
    PoolSettings,
    PrefixOption,
    PreviousOption,
    SecretFileOption,
    pool_given,
    secrets,
)
from memsession.command.silence import why_silent
from memsession.identity import fingerprint
from memsession.inspection import CopyState, SessionReport
from memsession.inspection import locate as survey
from memsession.lifetime import Lifetime
from memsession.plans import Buried, Plan
from memsession.plans import end as bury
from memsession.plans.load import read
from memsession.pool import Pool
from memsession.record import Dead, Live, Plain, Reason
from memsession.upkeep.build import sites
from memsession.upkeep.site import PATIENCE_S, Site
from memsession.upkeep.status import note

_ENDURING: Final = Lifetime(idle=LONGEST, absolute=LONGEST)

_MOVED: Final = (
    "this ID is over: a login or regenerate() gave the session another one, under which it goes on. Which one, "
    "nobody can tell from this one: look for the visitor's new session.id, and end that"
)

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask whether it is meant.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What became of it. `also` are sessions that it was begun in doubt about. `told`: whether word was left."""

    buried: Buried
    also: dict[bytes, Buried] = field(default_factory=dict)
    told: bool = True

    @property
    def missed(self) -> list[str]:
        """Nodes that did not take a tombstone."""
        missed = [node for one in (self.buried, *self.also.values()) for node in one.missed]
        return list(dict.fromkeys(missed))


def end(
    session: SessionArgument,
    pool: PoolOption = None,
    previous: PreviousOption = None,
    prefix: PrefixOption = None,
    consistency: ConsistencyOption = None,
    secret_file: SecretFileOption = None,
    cookie_name: CookieNameOption = "session",
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """End a session on all its nodes, as a logout does.

    Whoever comes with its cookie gets a new, empty session. It needs the
    application's secret key. A node that does not take the end is told when
    it is back, by the web servers' upkeep.

    Exit code: 0 it has ended on all nodes, 1 a node did not take the end, or
    there is no such session, 2 called wrongly, 3 none of its nodes answers.
    """
    asked = pool_given(pool, settings=PoolSettings(prefix=prefix, previous=previous, consistency=consistency))
    keys = secrets(secret_file)
    key = key_of(session, asked, secrets=keys, cookie_name=cookie_name)
    with closing(BlockingClient(asked, observe=_nobody)) as client:
        report = survey(asked, key, keys=keys, lifetime=_ENDURING, client=client)
        doubts = silences(asked, report)
        _refuse(report)
        if report.agree and report.copies[0].state is CopyState.ENDED:
            before = Ended(buried=Buried(frozenset(copy.node for copy in report.copies), (), True))
            show(_data(report, before), "This session has ended already, on all its nodes.", as_json)
            leave(WELL)
        _confirm(report, doubts, yes)
        site = sites(keys=keys, lifetime=_ENDURING, senses=client, observe=_nobody, rate=1)(asked)
        ended = perform(site, key, client)
    show(_data(report, ended), Text("\n".join(_lines(ended, asked))), as_json)
    leave(WRONG if ended.missed or not ended.buried.final else WELL)


def perform(site: Site, key: bytes, client: BlockingClient) -> Ended:
    """End the session, and leave word for the nodes that did not take it.

    Raises:
        CommandError: it goes on under another ID, or no node took the end.
    """
    ended = client.run(_everywhere(site, key), deadline=time.monotonic() + PATIENCE_S)
    if ended is None:
        raise CommandError(_MOVED, WRONG)
    if not ended.buried.confirmed:
        reasons = why_silent(site.pool, ended.missed)
        raise CommandError(f"no node took the end of the session: {'; '.join(reasons.values())}", WRONG)
    if not ended.missed:
        return ended
    words: dict[str, Plain] = {f"missed:{node}": site.status_world.nonce() for node in ended.missed}
    plan = note(site.status_world, site.status_key, lambda _: words, site.deadline)
    told = client.run(plan, deadline=time.monotonic() + PATIENCE_S)
    return Ended(buried=ended.buried, also=ended.also, told=told)


def _everywhere(site: Site, key: bytes) -> Plan[Ended | None]:
    """None: it has moved to another ID in this moment."""
    copies = yield from read(site.world, key, site.world.homes(key), force=True)
    records = [copy.record for copy in copies.values() if copy is not None]
    if any(isinstance(record, Dead) and record.reason is Reason.REGENERATED for record in records):
        return None
    doubted = {record.doubted.encode() for record in records if isinstance(record, Live) and record.doubted}
    buried = yield from bury(site.world, key)
    also: dict[bytes, Buried] = {}
    for other in sorted(doubted):
        also[other] = yield from bury(site.world, other)
    return Ended(buried=buried, also=also)


def _refuse(report: SessionReport) -> None:
    """What cannot be ended.

    Raises:
        CommandError: there is no such session, it has another ID now, or it cannot be read.
    """
    states = {copy.state for copy in report.copies}
    if CopyState.MOVED in states:
        raise CommandError(_MOVED, WRONG)
    if states == {CopyState.MISSING}:
        raise CommandError(
            "there is no such session: it ended long ago, or the ID, the pool or --prefix is another", WRONG
        )
    if CopyState.UNREADABLE in states and not states & {CopyState.LIVE, CopyState.EXPIRED, CopyState.ENDED}:
        raise CommandError(
            "no copy can be read with this secret, so no web server would understand its end: give the application's "
            "secret key",
            WRONG,
        )


def _confirm(report: SessionReport, doubts: list[str], yes: bool) -> None:
    """Ask, where there is somebody to be asked.

    Raises:
        CommandError: there is nobody; or somebody, who says no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("nobody can be asked whether this is meant, for there is no terminal: add --yes", USAGE)
    for doubt in doubts:
        typer.echo(f"No answer from {doubt}", err=True)
    if not typer.confirm(f"End session {report.session}? Its visitor is logged out", err=True):
        raise CommandError("nothing was ended", WRONG)


def _lines(ended: Ended, pool: Pool) -> list[str]:
    lines = [f"Ended on {', '.join(sorted(ended.buried.confirmed))}."]
    if ended.also:
        lines.append(f"With it: {', '.join(map(fingerprint, ended.also))}, about which it was begun in doubt.")
    if not ended.buried.final:
        lines.append("This is not the majority of its nodes, so it is not confirmed: run it again when more answer.")
    if not ended.missed:
        return lines
    lines += [f"Not taken by {reason}" for reason in why_silent(pool, ended.missed).values()]
    if ended.told:
        lines.append(
            "Word of that is left in the pool: a web server's upkeep brings the end there when it is back. To see it "
            "done: memsession refill --wait 10m"
        )
    else:
        lines.append("No word of that could be left in the pool: when it is back, run this or memsession refill.")
    return lines


def _data(report: SessionReport, ended: Ended) -> dict[str, Any]:
    return {
        "session": report.session,
        "ended": ended.buried.final,
        "nodes": sorted(ended.buried.confirmed),
        "missed": ended.missed,
        "also_ended": [fingerprint(key) for key in ended.also],
        "word_left": bool(ended.missed) and ended.told,
    }


def _nobody(_: object) -> None:
    """Nobody is told of what the client meets: the answer says it."""
