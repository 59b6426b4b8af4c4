"""Metrics that only the event loop of one process changes: plain numbers, collected when they are exposed.

prometheus_client's own take a lock for each change, and its histograms compare a value with one bucket after another:
together 4 microseconds of a small request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class PlainCounter(Collector):
    """A counter without labels."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._family = name, documentation
        self._value = 0.0
        registry.register(self)

    def inc(self, amount: float = 1) -> None:
        self._value += amount

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(*self._family, value=self._value)


class PlainGauge(Collector):
    """A gauge without labels."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._family = name, documentation
        self._value = 0
        registry.register(self)

    def inc(self) -> None:
        self._value += 1

    def dec(self) -> None:
        self._value -= 1

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(*self._family, value=self._value)


class PlainHistogram:
    """The observations with one set of labels."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, /) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def buckets(self) -> list[tuple[str, float]]:
        """Each bound and how many observations were at most as large, as Prometheus has them."""
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        return [(bound, float(count)) for bound, count in zip(bounds, accumulate(self._counts), strict=True)]


class PlainHistograms(Collector):
    """A histogram for each value of one label; with ``counter`` (name and text) also a counter of them."""

    def __init__(
        self,
        name: str,
        documentation: str,
        label: str,
        values: Iterable[str],
        bounds: Sequence[float],
        registry: CollectorRegistry,
        counter: tuple[str, str] | None = None,
    ) -> None:
        self._family = name, documentation
        self._label = [label] if label else []
        self._counter = counter
        self._histograms = {value: PlainHistogram(bounds) for value in values}
        registry.register(self)

    def labels(self, value: str) -> PlainHistogram:
        return self._histograms[value]

    def collect(self) -> Iterator[Metric]:
        labelled = [([value] if self._label else [], each) for value, each in self._histograms.items()]
        if self._counter is not None:
            counter = CounterMetricFamily(*self._counter, labels=self._label)
            for label, each in labelled:
                counter.add_metric(label, each.count)
            yield counter
        histogram = HistogramMetricFamily(*self._family, labels=self._label)
        for label, each in labelled:
            histogram.add_metric(label, buckets=each.buckets(), sum_value=each.sum)
        yield histogram
