"""The dashboard, the alert rules and their page: they speak of metrics that there are, and of all of them."""

import itertools
import json
import re
from pathlib import Path

import pytest

from memsession.metrics.measures import ALL, Kind
from memsession.metrics.memcached import FIGURES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "monitoring.md").read_text(encoding="utf-8")
RULES = (DOCS / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
BOARD = json.loads((DOCS / "monitoring" / "grafana-dashboard.json").read_text(encoding="utf-8"))

SUFFIXES = {Kind.DURATION: ("_bucket", "_sum", "_count")}
LABELS = {
    f"{one.snake}{suffix}": {label.name: label.values for label in one.labels}
    for one in ALL
    for suffix in SUFFIXES.get(one.kind, ("",))
} | {figure.metric: {"node": ()} for figure in FIGURES}
"""All metrics, with their labels and the values of those."""

ALERTS = re.findall(
    r"^      - alert: (?P<name>\w+)\n"
    r"(?:        #.*\n)?"
    r"        expr: (?P<expr>.+)\n"
    r"(?:        for: \d+[sm]\n)?"
    r"        labels:\n"
    r"          severity: (?P<severity>\w+)\n"
    r"        annotations:\n"
    r'          summary: "(?P<summary>.+)"\n'
    r"          runbook: (?P<runbook>\S+)\n",
    RULES,
    re.MULTILINE,
)
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    *(pytest.param(expr, id=name) for name, expr, *_ in ALERTS),
    *(
        pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
        for panel in PANELS
        for target in panel["targets"]
    ),
]


@pytest.mark.parametrize("query", QUERIES)
def test_queries_ask_for_what_there_is(query):
    """Metrics that are exported, by labels that these have, for values that those have."""
    metrics = set(re.findall(r"\bmemsession_\w+", query))
    assert metrics
    assert metrics <= LABELS.keys()

    for metric, selectors in re.findall(r"(memsession_\w+)\{(.*?)\}", query):
        for label, values in re.findall(r'(\w+)=~?"(.*?)"', selectors):
            if label != "instance":  # which Prometheus itself adds
                assert {*values.split("|")} <= {*LABELS[metric][label]}
    for labels in re.findall(r"by \((.*?)\)", query):
        for metric in metrics:
            assert {*labels.split(", ")} <= LABELS[metric].keys()


@pytest.mark.parametrize("query", QUERIES)
def test_queries_are_well_formed(query):
    """Brackets are closed, and of counters only what they have gained counts."""
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing)
    for found in re.finditer(r"memsession_\w+_(?:total|sum|count)\b(?:\{.*?\})?(?P<range>\[)?", query):
        assert found["range"], "rate or increase needs a range"
        assert re.search(r"(?:rate|increase)\($", query[: found.start()])


def test_all_alerts_were_read():
    """Each is spelt as the others, with a severity, a summary and a paragraph to read."""
    assert len(ALERTS) == RULES.count("- alert:") >= 8
    assert len({name for name, *_ in ALERTS}) == len(ALERTS)
    assert {severity for _, _, severity, *_ in ALERTS} == {"warning", "critical"}


@pytest.mark.parametrize(("name", "runbook"), [(name, runbook) for name, *_, runbook in ALERTS])
def test_every_alert_has_its_paragraph(name, runbook):
    """That says what it means, and what to do."""
    paragraph = PAGE.partition(f"\n### {name}\n")[2].partition("\n### ")[0]

    assert "*What to do*: " in paragraph
    assert runbook == f"docs/monitoring.md#{name.lower()}"


def test_every_paragraph_has_its_alert():
    """In the same order."""
    assert re.findall(r"^### (Mem\w+)$", PAGE, re.MULTILINE) == [name for name, *_ in ALERTS]


@pytest.mark.parametrize("measure", ALL, ids=lambda measure: measure.name)
def test_every_measure_is_explained(measure):
    """With both of its names, its kind and its labels."""
    labels = [
        f"`{label.name}`" + (f" ({', '.join(label.values)})" if label.values else "") for label in measure.labels
    ]
    row = f"| `{measure.snake}` | `{measure.dotted}` | {measure.kind.value} | {', '.join(labels) or '-'} | "

    assert f"\n{row}{measure.text} |\n" in PAGE


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_every_figure_is_explained(figure):
    """With its kind."""
    kind = "counter" if figure.name.endswith("_total") else "gauge"

    assert f"\n| `{figure.metric}` | {kind} | {figure.text} |\n" in PAGE


def test_the_page_speaks_of_nothing_else():
    """No metric that is not exported any more."""
    assert {*re.findall(r"`(memsession_\w+)`", PAGE)} <= LABELS.keys() | {one.snake for one in ALL}


def test_the_dashboard_shows_everything():
    """No metric without a panel."""
    shown = {
        name
        for panel in PANELS
        for target in panel["targets"]
        for name in re.findall(r"memsession_\w+", target["expr"])
    }
    left_out = {name for name in LABELS if name not in shown and not name.endswith("_bucket")}

    assert left_out == set()


def test_the_dashboard_is_as_grafana_has_them():
    """What its import needs, as far as that can be told without Grafana."""
    assert {"title", "uid", "panels", "schemaVersion", "templating", "time", "version"} <= BOARD.keys()
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    for panel in PANELS:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert {"fieldConfig", "gridPos", "options", "targets", "title", "type"} <= panel.keys()
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert [variable["name"] for variable in BOARD["templating"]["list"]] == ["datasource", "instance"]


def test_no_panel_covers_another_one():
    """In a grid of 24 columns."""
    places = [panel["gridPos"] for panel in BOARD["panels"]]

    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
