"""The experiments can fail: every figure is missed when what it stands for goes wrong. And small forms of them."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.faults.experiments import hung, refill, soak
from tests.faults.experiments.__main__ import EXPERIMENTS, _section
from tests.faults.experiments.crowd import Crowd
from tests.faults.experiments.ear import Ear, NeverTold
from tests.faults.experiments.figures import Report, all_of, at_most, exactly, shown, table, write_section
from tests.faults.experiments.site import seeded
from tests.faults.history import FINAL, History
from tests.faults.openloop import Timed, in_turn, on_schedule, percentile
from tests.faults.pages import Page, now

CALM = {"timeout": 2.0, "budget": 6.0}
"""Small forms run on busy machines, where a healthy memcached may be silent for a quarter of a second."""


def missed(report):
    """The figures that are not kept."""
    return [figure.what for figure in report.figures if figure.kept is False]


# The load


async def test_no_request_waits_for_an_earlier_one():
    """The first errand ends only because the second one was begun meanwhile."""
    begun = asyncio.Event()

    async def wait(due):
        await begun.wait()
        return due

    async def release(due):
        begun.set()
        return due

    begin = now()

    assert await on_schedule(begin, [(0.0, wait), (0.01, release)]) == [begin, begin + 0.01]


async def test_as_many_errands_run_at_once_as_was_said():
    """The load that waits: never more than so many, all in the end, results in the order of the errands."""
    running, most = 0, 0

    async def errand(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return number

    results = await in_turn([lambda number=number: errand(number) for number in range(10)], at_once=3)

    assert (results, most) == (list(range(10)), 3)


def test_a_late_generator_makes_the_figures_worse():
    """A visitor's time counts from the moment the visit was due."""
    visit = Timed.since(100.0, 101.0, Page(200, 101.4, 101.5))

    assert (visit.due, round(visit.late_s, 3), round(visit.took_s, 3)) == (1.0, 0.4, 0.5)


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (1, 1), (99, 99), (100, 99), (101, 100), (1000, 990)])
def test_the_99th_of_a_hundred(count, expected):
    """The smallest value that 99 of a hundred do not exceed."""
    assert percentile(range(1, count + 1), 99) == expected


# Reports


def test_a_missed_figure_is_a_missed_report():
    """A figure without a promise never is."""
    kept = [shown("seen", "5"), exactly("lost", 0, 0), at_most("worst", 2.0, 2.0, "s"), all_of("there", 3, 3)]
    broken = [exactly("lost", 1, 0), at_most("worst", 2.1, 2.0, "s"), all_of("there", 2, 3)]

    assert Report(name="x", variant="y", seed=1, figures=kept).kept
    assert [Report(name="x", variant="y", seed=1, figures=[one]).kept for one in broken] == [False] * 3


def test_a_report_tells_its_seed_and_what_was_missed():
    """Whoever reads it can run it again, and sees which promise it was."""
    text = str(Report(name="x", variant="y", seed=815, figures=[exactly("lost", 1, 0)], misses=["session 7"]))

    assert all(part in text for part in ("seed 815", "MISSED lost", "promised: 0", "! session 7"))


def test_runs_stand_side_by_side():
    """A promise that only one of them makes is shown, too."""
    one = Report(name="x", variant="one", seed=1, figures=[shown("lost", "-")])
    other = Report(name="x", variant="other", seed=1, figures=[exactly("lost", 0, 0)])

    assert table([one, other]).splitlines() == [
        "|  | promised | one | other |",
        "| --- | --- | --- | --- |",
        "| lost | 0 | - | 0 |",
    ]


def test_a_section_takes_the_place_of_the_one_before(tmp_path):
    """What others wrote into the page stays as it is."""
    page = tmp_path / "page.md"
    page.write_text("# Title\n\nabove\n", encoding="utf-8")

    write_section(page, "x", "first")
    write_section(page, "y", "other")
    write_section(page, "x", "second")

    marks = "<!-- begin experiment x -->\n\nsecond\n\n<!-- end experiment x -->"
    assert page.read_text(encoding="utf-8").startswith(f"# Title\n\nabove\n\n{marks}\n\n<!-- begin experiment y -->")


def test_a_section_names_seed_and_load():
    """A figure without its circumstances says little."""
    text = _section(EXPERIMENTS["soak"], [Report(name="soak", variant="run 1", seed=9, figures=[])], "load 0.1")

    assert "Seed 9; load 0.1 when it began." in text


# A node hangs


def seen_hanging(**changes):
    """A run of the first experiment in which everything is as promised: all visits are quick."""
    visits = [Timed(at / 100, at / 100, at / 100 + 0.004, Page(200, 0.0, 0.0)) for at in range(2500)]
    history = History()
    for number in range(1, 4):
        history.add("7", "incr", None, "asgi", Page(200, number, number + 0.5), seen=number)
    history.add("7", "count", None, "asgi", Page(200, 9.0, 9.5), seen=3, phase=FINAL)
    seen = hung.Seen(
        course=hung.Course(), visits=visits, history=history, stopped_at=5.0, went_on_at=15.0, back_s=3.0
    )
    return replace(seen, **changes)


def with_visit(at, took_s, status=200):
    """One visit more."""
    return [*seen_hanging().visits, Timed(at, at, at + took_s, Page(status, 0.0, 0.0))]


def with_op(kind, seen, status=200, **more):
    """One operation more in the history."""
    history = seen_hanging().history
    history.add("7", kind, None, "asgi", Page(status, 8.0, 8.5), seen=seen, **more)
    return history


def with_third(seen):
    """The third visit was shown this number."""
    history = seen_hanging().history
    history.ops[2].seen = seen
    return history


def test_a_hang_that_nobody_notices_keeps_every_promise():
    """Visits that met the hang took up to 0.25 s."""
    assert missed(hung.judged("asgi", 1, seen_hanging(visits=with_visit(5.1, 0.25)))) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"history": with_op("incr", None, status=503)}, "errors"),
        ({"history": with_op("count", 2, phase=FINAL)}, "visits confirmed and not counted"),
        ({"history": with_third(2)}, "answers with a wrong value"),
        ({"history": with_third(4)}, "answers with a wrong value"),
        ({"visits": with_visit(5.1, 1.01)}, "worst visit"),
        ({"visits": with_visit(5.31, 0.21)}, "over 200 ms, not begun within 0.3 s of the stop"),
        ({"visits": with_visit(16.0, 0.21)}, "over 200 ms, not begun within 0.3 s of the stop"),
        ({"visits": [*with_visit(8.0, 0.03), *[with_visit(9.0, 0.03)[-1]] * 10]}, "p99 while it hangs"),
        ({"back_s": 6.1}, "back in use after it goes on"),
        ({"back_s": None}, "back in use after it goes on"),
    ],
)
def test_each_figure_of_the_hang_can_be_missed(changes, expected):
    """One thing goes wrong, and one figure says so."""
    assert missed(hung.judged("asgi", 1, seen_hanging(**changes))) == [expected]


# Refill


def seen_refilled(course=refill.VARIANTS["with 200 logouts"], **changes):
    """A run of the second experiment in which everything is as promised."""
    done = {"there": 9_800, "left": 200, "left_in_time": 200, "looked_at": 6_600, "took_s": 4.0, "noticed_s": 1.0}
    return refill.Seen(**{"course": course, "wrong": 0, "revived": 0, "errors": 0, **done, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"there": 9_799}, ["sessions there in the end"]),
        ({"wrong": 1}, ["sessions with somebody else's data"]),
        ({"errors": 1}, ["errors"]),
        ({"revived": 1}, ["sessions that came back after logout"]),
        ({"left_in_time": 199}, ["logouts confirmed before the refill was done"]),
        ({"course": refill.VARIANTS["without upkeep"], "there": 6_700, "left": 0}, []),
    ],
)
def test_each_figure_of_the_refill_can_be_missed(changes, expected):
    """One thing goes wrong, and one figure says so; without upkeep nobody promises that sessions are there."""
    assert missed(refill.judged("x", 1, seen_refilled(**changes))) == expected


# The crowd


class Village:
    """All web servers and nodes in one: sessions in a dict. `spoil` may change what a page shows or does."""

    def __init__(self, spoil=lambda path, cookie, village: None):
        self.sessions = {}
        self.spoil = spoil
        self.now = 0.0
        self._cookies = 0

    async def get(self, path, cookie):
        begun, self.now = self.now, self.now + 1.0
        await asyncio.sleep(0)
        url = urlsplit(path)
        spoilt = self.spoil(url.path, cookie, self)
        status, shown, given = spoilt or self._page(url.path, dict(parse_qsl(url.query)), cookie)
        self.now += 1.0
        return Page(status, begun, self.now, shown, given)

    def _page(self, path, query, cookie):
        given = None
        data = self.sessions.get(cookie)
        if path == "/rotate" or (data is None and path in ("/set", "/incr")):
            self._cookies += 1
            given = f"c{self._cookies}"
            data = self.sessions[given] = self.sessions.pop(cookie, {})
        shown = {}
        match path:
            case "/set":
                data.update(query)
            case "/incr":
                shown["n"] = data["n"] = data.get("n", 0) + 1
            case "/get":
                shown["data"] = dict(data or {})
            case "/logout":
                self.sessions.pop(cookie, None)
                given = ""
        return 200, {"owner": (data or {}).get("owner"), **shown}, given


async def figures_of(village, *, seed=1):
    """A day of the crowd in the village, one errand after the other and some at once."""
    crowd = Crowd({"asgi": village, "wsgi": village}, seeded(seed, "test"))
    await crowd.gather(6)
    for _ in range(100):
        await asyncio.gather(*(crowd.errand()(0.0) for _ in range(4)))
    assert await crowd.touch("asgi") or village.spoil is unavailable
    await crowd.look_last()
    return crowd.judged()


def broken(figures):
    """Which promises are."""
    return [kind for kind in ("lost", "stale", "revived", "foreign", "errors") if figures[kind]]


@pytest.mark.parametrize("seed", range(5))
async def test_nothing_is_wrong_where_nothing_goes_wrong(seed):
    """The checkers accuse nobody without a reason, and there was something to judge."""
    figures = await figures_of(Village(), seed=seed)

    assert broken(figures) == []
    assert all(figures[kind] for kind in ("add", "incr", "logout", "rotate", "old"))


def forgetful(path, cookie, village):
    """What is put in is confirmed and not kept."""
    if path == "/set" and cookie:
        return 200, {"owner": village.sessions.get(cookie, {}).get("owner")}, None
    return None


def undying(path, cookie, village):
    """A logout is confirmed and does nothing."""
    return (200, {"owner": None}, "") if path == "/logout" else None


def mixed_up(path, cookie, village):
    """Somebody else's session is shown."""
    if path == "/get" and len(village.sessions) > 1 and cookie in village.sessions:
        other = next(data for key, data in village.sessions.items() if key != cookie)
        return 200, {"owner": other.get("owner"), "data": dict(other)}, None
    return None


def unavailable(path, cookie, village):
    """Every look ends with 503."""
    return (503, {}, None) if path == "/get" else None


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (forgetful, ["lost", "stale"]),
        (undying, ["revived"]),
        (mixed_up, ["lost", "stale", "foreign"]),
        (unavailable, ["errors"]),
    ],
)
async def test_each_broken_promise_to_the_crowd_is_noticed(spoil, expected):
    """Of each kind there is one way to break it, at least, that is seen."""
    assert broken(await figures_of(Village(spoil))) == expected


async def test_a_counter_that_goes_back_is_stale():
    """Half of the counting is undone after a while."""

    def undo(path, cookie, village):
        data = village.sessions.get(cookie, {})
        if path == "/incr" and data.get("n", 0) > 3:
            data["n"] -= 2

    figures = await figures_of(Village(undo))

    assert broken(figures) == ["lost", "stale"]


# What web servers tell


async def test_an_ear_hears_whole_lines_only():
    """A line that is still being written is heard when it is complete; what is no event is passed over."""
    web = SimpleNamespace(kind="asgi", said='hello\nEVENT NodeOut {"node": "a", "reason": "x"}\nEVENT NodeBa')
    ear = Ear(web)

    assert ear.holds_out("a")
    web.said += 'ck {"node": "a"}\n'
    assert not ear.holds_out("a")
    assert [one.kind for one in ear.told] == ["NodeOut", "NodeBack"]
    assert ear.count("NodeOut", "a") == 1


async def test_what_is_never_told_is_an_error_with_what_was_told():
    """Whoever waits in vain learns what was heard instead."""
    ear = Ear(SimpleNamespace(kind="asgi", said='EVENT RefillFailed {"node": "a", "reason": "tired"}\n'))

    with pytest.raises(NeverTold, match=r"no RefillDone a .*tired"):
        await ear.heard("RefillDone", node="a", patience_s=0.0)


# The soak


def test_the_seed_decides_the_faults():
    """The same ones again; and in the long run there are all kinds, on every node and for each web server."""

    def drawn(seed):
        chance = seeded(seed, "troubles")
        return [soak.troubles(chance, ["a", "b", "c"], soak.Course()) for _ in range(500)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert {trouble.kind for trouble in drawn(1)} == {*soak.ROADS, *soak.PROCESSES}
    assert {trouble.node for trouble in drawn(1)} == {"a", "b", "c"}
    assert {trouble.web for trouble in drawn(1)} == {None, "asgi", "wsgi"}


# Small forms


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
async def test_no_visit_is_lost_while_a_node_hangs(kind):
    """Each confirmed visit counted, and no visitor saw an error or a wrong number."""
    course = hung.Course(sessions=12, rate=30.0, stop_s=0.5, go_on_s=3.0, end_s=4.0, pool=CALM)

    report = await hung.run(kind, 1, course)

    judged = {"errors", "visits confirmed and not counted", "answers with a wrong value"}
    assert judged & {*missed(report)} == set(), str(report)


async def test_idle_sessions_survive_and_ended_ones_do_not():
    """A restart, a refill without any visit but the logouts, and then the loss of another node."""
    course = refill.Course(sessions=300, logouts=20, logout_rate=1000.0)

    report = await refill.run("small", 1, course)

    judged = {
        "sessions there in the end",
        "sessions with somebody else's data",
        "sessions that came back after logout",
    }
    assert judged & {*missed(report)} == set(), str(report)


async def test_a_short_soak_breaks_no_promise():
    """A few faults of any kind, one after the other."""
    course = soak.Course(seconds=6.0, rate=60.0, guests=20, longest_s=1.0, pool=CALM)

    report = await soak.run("small", 1, course)

    assert missed(report) == [], str(report)
    assert report.misses, "there was no fault"
