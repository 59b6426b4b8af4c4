"""The arithmetic and the formatting of the benchmarks. Nothing is timed, and no server is started."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from benchmarks import plots, recipes
from benchmarks.__main__ import SCENARIOS
from benchmarks.figures import Floor, Metric, Outcome, advantage, judge
from benchmarks.floors import FLOORS
from benchmarks.load import LoadFailed, Target, complete_answer
from benchmarks.report import BEGIN, END, Report, as_markdown, as_text, least_cpu_rows, replace_between_markers
from benchmarks.scenarios.contract import Scenario

RATE = Metric("per_second", "creations", "1/s", "higher")
MEMORY = Metric("resident_mib", "memory", "MiB", "lower", 1)
SCENARIO = Scenario("creations", "Creations", (RATE, MEMORY), lambda *_: {}, lambda *_: None)
METRICS = {("creations", metric.key): metric for metric in SCENARIO.metrics}


def _outcomes(ours_rate: float = 300.0, ours_memory: float = 40.0) -> dict[str, dict[str, Outcome]]:
    return {
        "creations": {
            "ours": Outcome({"per_second": [100.0, ours_rate, 900.0], "resident_mib": [ours_memory]}),
            "node": Outcome({"per_second": [100.0], "resident_mib": [80.0]}),
        }
    }


def _report(outcomes: dict[str, dict[str, Outcome]], floors: tuple[Floor, ...] = ()) -> Report:
    return Report(
        date="2026-01-02",
        machine={
            "cpu": "a processor",
            "kernel": "6.1",
            "python": "3.11.1",
            "python_build": "PGO",
            "data_on": "tmpfs",
            "cores": 2,
            "cores_busy_elsewhere": 0.25,
        },
        servers={"ours": "tusd-py 1", "node": "@tus/server 2"},
        rounds=3,
        scenarios=[SCENARIO],
        outcomes=outcomes,
        floor_results=judge(floors, METRICS, outcomes),
    )


def test_median_and_spread_of_rounds() -> None:
    """One slow and one fast round do not change the median; the spread shows both."""
    outcome = Outcome()
    for value in (5.0, 1000.0, 7.0):
        outcome.add({"per_second": value})
    assert 7.0 == outcome.median("per_second")
    assert (5.0, 1000.0) == outcome.spread("per_second")
    assert outcome.median("unmeasured") is None
    assert outcome.spread("unmeasured") is None


@pytest.mark.parametrize(
    ("metric", "ours", "peer", "expected"),
    [
        (RATE, 300.0, 100.0, 3.0),
        (MEMORY, 40.0, 80.0, 2.0),
        (MEMORY, 80.0, 40.0, 0.5),
        (RATE, None, 100.0, None),
        (RATE, 300.0, None, None),
        (MEMORY, 40.0, -1.0, None),
    ],
)
def test_advantage_is_above_one_if_ours_is_better(
    metric: Metric, ours: float | None, peer: float | None, expected: float | None
) -> None:
    """Higher is better for rates, lower for costs; without two positive figures there is no ratio."""
    assert expected == advantage(metric, ours, peer)


@pytest.mark.parametrize(("bound", "passed"), [(3.0, True), (3.1, False)])
def test_floor_against_a_peer_is_a_ratio_of_medians(bound: float, passed: bool) -> None:
    """300 against 100 holds a floor of 3 times, but not of 3.1 times."""
    (result,) = judge([Floor("creations", "per_second", "", bound, "node")], METRICS, _outcomes())
    assert (3.0, passed) == (result.measured, result.passed)


@pytest.mark.parametrize(("memory", "passed"), [(60.0, True), (60.1, False)])
def test_absolute_floor_of_a_cost_is_a_maximum(memory: float, passed: bool) -> None:
    """Memory up to the bound passes; memory above it fails."""
    floor = Floor("creations", "resident_mib", "", 60.0)
    (result,) = judge([floor], METRICS, _outcomes(ours_memory=memory))
    assert passed == result.passed


def test_absolute_floor_of_a_rate_is_a_minimum() -> None:
    """A rate below the bound fails."""
    (result,) = judge([Floor("creations", "per_second", "", 301.0)], METRICS, _outcomes())
    assert not result.passed


def test_floor_without_figures_is_skipped() -> None:
    """A run without the figures of a floor has no result for it."""
    outcomes = _outcomes()
    del outcomes["creations"]["node"]
    floors = [Floor("creations", "per_second", "", 1.0, "node")]
    assert [] == judge(floors, METRICS, outcomes)
    assert [] == judge(floors, METRICS, {})
    assert [] == judge([Floor("creations", "per_second", "", 1.0)], METRICS, {"creations": {}})


@pytest.mark.parametrize(
    ("received", "method", "complete"),
    [
        (b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n", "POST", False),
        (b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", "POST", True),
        (b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\na", "POST", False),
        (b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nab", "POST", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "PATCH", True),
        (b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n", "POST", False),
        (b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "POST", True),
    ],
)
def test_answer_is_complete_as_its_head_says(received: bytes, method: str, complete: bool) -> None:
    """An answer is complete after its head and the body that the head announces."""
    assert complete == complete_answer(received, method)


def test_answer_of_unknown_length_fails() -> None:
    """An answer without a length and without chunks raises ``LoadFailed``: its end is unknown."""
    with pytest.raises(LoadFailed, match="neither Content-Length nor chunks"):
        complete_answer(b"HTTP/1.1 201 Created\r\n\r\n", "POST")


def test_requests_have_their_length_and_body() -> None:
    """A POST has a Content-Length, a HEAD has none, and each path becomes one request."""
    post = Target("127.0.0.1", 1, "POST", "/files/", {"Upload-Length": "2"}, b"ab").encoded()
    assert [
        b"POST /files/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\nUpload-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    ] == post
    heads = Target("127.0.0.1", 1, "HEAD", "/a", {}, paths=["/a", "/b"]).encoded()
    assert [b"HEAD /a HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n", b"HEAD /b HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n"] == heads


def test_each_append_starts_where_the_one_before_ended() -> None:
    """The PATCHes of a connection go to its own upload, with an offset that grows by the length of the body."""
    target = Target("127.0.0.1", 1, "PATCH", "/a", {}, b"abc", ["/a", "/b"], appends=True)
    first, second = islice(target.requests_of(1, 2), 2)
    head = b"PATCH /b HTTP/1.1\r\nHost: 127.0.0.1:1\r\nUpload-Offset: %d\r\nContent-Length: 3\r\n\r\nabc"
    assert (head % 0, head % 3) == (first, second)


def test_variants_of_a_request_are_sent_in_turn() -> None:
    """Each connection begins with another one, so that two do not send the same at the same time."""
    variants = [{"X": str(number)} for number in range(4)]
    target = Target("127.0.0.1", 1, "POST", "/a", {}, b"ab", variants=variants)
    sent = [[request.split(b"X: ")[1][:1] for request in islice(target.requests_of(each, 2), 3)] for each in (0, 1)]
    assert sent == [[b"0", b"1", b"2"], [b"2", b"3", b"0"]]
    head = b"POST /a HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX: 0\r\nContent-Length: 2\r\n\r\n"
    assert next(target.requests_of(0, 2)) == head + b"ab"


def test_paths_requested_once_are_shared_by_the_connections() -> None:
    """Each path is requested by one connection; other loads repeat their paths without an end."""
    once = Target("127.0.0.1", 1, "DELETE", "/a", {}, paths=["/a", "/b", "/c"], is_once=True)
    sent = [request.split()[1] for connection in (0, 1) for request in once.requests_of(connection, 2)]
    assert [b"/a", b"/c", b"/b"] == sent
    endless = Target("127.0.0.1", 1, "HEAD", "/a", {}, paths=["/a", "/b"])
    assert [b"/b", b"/a", b"/b"] == [request.split()[1] for request in islice(endless.requests_of(1, 2), 3)]


def test_cpu_time_is_shown_as_a_multiple_of_the_trivial_application() -> None:
    """Twice its CPU time is 2.00; the floor of a cost is shown the same way."""
    cpu = Metric("server_cpu_microseconds", "CPU", "µs", "lower")
    outcomes = {
        "creations": {
            "ours": Outcome({cpu.key: [120.0]}),
            "floor": Outcome({cpu.key: [60.0]}),
        }
    }
    results = judge((Floor("creations", cpu.key, "CPU", 1 / 2.4, "floor"),), {("creations", cpu.key): cpu}, outcomes)
    report = replace(_report(outcomes), servers={"ours": "tusd-py 1", "floor": "trivial"}, floor_results=results)
    assert [["times the floor's CPU", "tusd-py 1"], ["Creations", "2.00"]] == least_cpu_rows(report)
    assert "| CPU | at most 2.4 times trivial | 2.00 times | holds |" in as_markdown(report)


def test_tables_show_medians_ratios_and_floors() -> None:
    """The tables show each figure with its spread, our advantage, and whether the floor holds."""
    report = _report(_outcomes(), (Floor("creations", "per_second", "creations", 3.5, "node"),))
    assert "| creations, 1/s | 300 (100-900) | 100 (100-100) | 3.0x |" in as_markdown(report)
    assert "| memory, MiB | 40.0 (40.0-40.0) | 80.0 (80.0-80.0) | 2.0x |" in as_markdown(report)
    assert "| creations | at least 3.5 times @tus/server 2 | 3.00 times | **FAILS** |" in as_markdown(report)
    assert "300 (100-900)" in as_text(report)
    assert "Other programs kept 0.25 of 2 cores busy" in as_markdown(report)


def test_failed_server_is_shown_with_its_reason() -> None:
    """A server that failed has no figure and no ratio, and its reason is below the table."""
    outcomes = _outcomes()
    outcomes["creations"]["node"] = Outcome(failure="it crashed")
    report = _report(outcomes)
    assert "| creations, 1/s | 300 (100-900) | failed |  |" in as_markdown(report)
    assert "Failed: @tus/server 2: it crashed" in as_markdown(report)


def test_data_contains_every_round() -> None:
    """The data can be written as JSON and contains the value of every round."""
    data = json.loads(json.dumps(_report(_outcomes()).as_data()))
    figures = data["scenarios"]["creations"]["ours"]["figures"]["per_second"]
    assert {"median": 300.0, "rounds": [100.0, 300.0, 900.0]} == figures


def test_only_the_text_between_the_markers_is_replaced() -> None:
    """The text around the markers stays; a document without markers raises ``ValueError``."""
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n" == replace_between_markers(document, "new")
    with pytest.raises(ValueError, match="lacks the lines"):
        replace_between_markers("no markers", "new")


def test_every_panel_and_floor_has_a_measured_metric() -> None:
    """Every panel and every floor names a metric of a scenario, and every server has a colour."""
    measured = {(scenario.name, metric.key) for scenario in SCENARIOS for metric in scenario.metrics}
    assert {(panel.scenario, panel.metric) for plot in plots.PLOTS for panel in plot.panels} <= measured
    assert {(floor.scenario, floor.metric) for floor in FLOORS} <= measured
    assert set(recipes.ALL) == set(plots.COLOURS)


def test_bars_have_one_order_and_their_spread() -> None:
    """Ours comes first in every panel; a server that failed or was not measured has no bar."""
    outcomes = _outcomes()
    outcomes["creations"] = {"node": outcomes["creations"]["node"], "ours": outcomes["creations"]["ours"]}
    outcomes["creations"]["tuspyserver"] = Outcome({"per_second": [5.0]}, failure="it crashed")
    data = _report(outcomes).as_data()
    panel = plots.Panel("creations", "per_second", "")
    assert [("ours", 300.0, 100.0, 900.0), ("node", 100.0, 100.0, 100.0)] == plots.bars(data, panel)
    assert [] == plots.bars(data, plots.Panel("heads", "per_second", ""))
    assert ["tusd-py", "@tus/server", "raw"] == [plots.label(data, server) for server in ("ours", "node", "raw")]


def test_plots_of_the_document_exist() -> None:
    """Each plot has a file, and its caption is the alternative text."""
    docs = Path(__file__).parent.parent.parent / "docs"
    document = (docs / "benchmarks.md").read_text()
    for plot in plots.PLOTS:
        assert f"![{plot.caption}](benchmarks/{plot.name}.svg)" in document
        assert plot.caption in (docs / "benchmarks" / f"{plot.name}.svg").read_text()
