"""Plain metrics expose what prometheus_client's own would."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from tusd_py.web.plain_metrics import PlainCounter, PlainGauge, PlainHistograms

BOUNDS = (0.5, 1, 300)


def test_exposition_is_that_of_the_library() -> None:
    """Counters, gauges and histograms with and without a label, at, between and beyond the bounds."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as the server does
    theirs, ours = CollectorRegistry(), CollectorRegistry()
    counted = Counter("a", "A.", registry=theirs), PlainCounter("a", "A.", ours)
    open_now = Gauge("b", "B.", registry=theirs), PlainGauge("b", "B.", ours)
    requests = Counter("c", "C.", ["method"], registry=theirs)
    seconds = Histogram("d", "D.", ["method"], buckets=BOUNDS, registry=theirs)
    timed = PlainHistograms("d", "D.", "method", ["GET", "PUT"], BOUNDS, ours, counter=("c", "C."))
    sizes = (
        Histogram("e", "E.", buckets=BOUNDS, registry=theirs),
        PlainHistograms("e", "E.", "", [""], BOUNDS, ours).labels(""),
    )
    for each in counted:
        each.inc()
        each.inc(2.5)
    for gauge in open_now:
        gauge.inc()
        gauge.inc()
        gauge.dec()
    for method in ("GET", "PUT"):
        requests.labels(method)
        seconds.labels(method)
    for value in (0.1, 0.5, 0.7, 300, 301):
        requests.labels("GET").inc()
        seconds.labels("GET").observe(value)
        timed.labels("GET").observe(value)
        for histogram in sizes:
            histogram.observe(value)
    assert generate_latest(theirs) == generate_latest(ours)
