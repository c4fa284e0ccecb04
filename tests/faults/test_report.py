"""What the report makes of results: verdicts, figures of waiting, and the page that it writes into."""

import pytest

from tests.faults import report
from tests.faults.faults import FAULTS
from tests.faults.history import FINAL, History, Op
from tests.faults.matrix import LATE_MS, Result
from tests.faults.report import BEGIN, END, line_of, write_report
from tests.faults.timing import Timing, timing, too_slow


def result(fault="F1", works=("W1",), copies=2, problems=(), **notes):
    return Result(
        fault=fault,
        works=works,
        copies=copies,
        seed=1,
        figures={},
        notes={"back_s": 0.5, "late_ms": 0, "unplanned": 0, **notes},
        timing=Timing(worst={"asgi": 12.0, "wsgi": 34.0}),
        operations=100,
        counts={"asgi": 50, "wsgi": 50},
        errors={"asgi": 0, "wsgi": 3},
        problems=list(problems),
    )


@pytest.mark.parametrize(
    ("problems", "notes", "valid"),
    [
        ([], {"late_ms": LATE_MS}, True),
        (["error 3"], {}, True),
        (["error 3"], {"late_ms": LATE_MS}, False),
        (["error 3", "revived 1"], {"late_ms": LATE_MS, "unplanned": 1}, True),
        (["lost 1"], {"late_ms": LATE_MS}, True),
        (["lost 1", "unseen 2"], {"unplanned": 1}, False),
        (["foreign 1"], {"unplanned": 1}, True),
        (["wrong 1"], {"unplanned": 1}, True),
    ],
)
def test_only_what_a_busy_machine_explains_is_tried_again(problems, notes, valid):
    assert result(problems=problems, **notes).is_valid is valid


def test_a_cell_in_one_line():
    assert line_of(result()).startswith("ok ")
    assert "lost 2" in line_of(result(problems=["lost 2"]))


def test_the_tables_take_the_place_of_the_former_ones(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(report, "PAGE", page)

    write_report([result(), result(works=("W2",), problems=["lost 2"])], seed=5, scale=0.5, minutes=3.0)

    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    assert f"| F1 | {FAULTS['F1'].title} | 2 | ok | **broken**: lost 2 | - | - | - |" in text
    assert "| F1 | 0 of 100 | 6 of 100 | 12 ms | 34 ms | 0.5 s |" in text
    assert "seed 5 at 0.5 of the full size" in text
    assert "**1 as expected, 1 not.**" in text


def test_waiting_is_told_apart_by_web_server_and_by_what_was_wrong():
    """Held requests, and those at the end, say nothing about waiting."""
    ops = [
        Op("u", "who", None, "asgi", 1.0, 1.002, 200),
        Op("u", "who", None, "asgi", 11.0, 11.250, 200),
        Op("u", "who", None, "asgi", 15.0, 15.004, 200),
        Op("u", "who", None, "wsgi", 15.0, 15.100, 200),
        Op("u", "write", None, "wsgi", 15.0, 19.0, 200),
        Op("u", "who", None, "wsgi", 30.0, 39.0, 200, phase=FINAL),
    ]

    told = timing(History(ops, {"struck": 10.0, "eased": 20.0}))

    assert {web: round(ms) for web, ms in told.worst.items()} == {"asgi": 250, "wsgi": 100}
    assert {web: round(ms) for web, ms in told.healthy_p99.items()} == {"asgi": 2, "wsgi": 0}
    assert {web: round(ms) for web, ms in told.hanging_p99.items()} == {"asgi": 4, "wsgi": 100}
    assert too_slow(told) == ["p99 100.0 ms at wsgi, more than 5.0 ms"]


def test_a_second_is_too_long():
    assert too_slow(Timing(worst={"asgi": 1_001.0, "wsgi": 999.0})) == ["worst 1001 ms at asgi"]
