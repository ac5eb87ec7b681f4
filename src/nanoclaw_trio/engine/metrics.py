"""The engine's statistics in Prometheus' text format, for whoever serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanoclaw_trio.engine.statistics import EngineStatistics


def prometheus_text(statistics: EngineStatistics) -> str:
    """The statistics as Prometheus scrapes them, of type `text/plain; version=0.0.4`.

    All names begin with `nanoclaw_`, and times are in seconds. A group's label is its folder; no
    chat's address is in it, and nothing that anybody said. ImportError without prometheus_client.
    """
    # Late: who doesn't ask for it doesn't pay for the import.
    from prometheus_client import CollectorRegistry, generate_latest

    from nanoclaw_trio.engine.metric_families import StatisticsCollector

    registry = CollectorRegistry()
    registry.register(StatisticsCollector(statistics))
    return generate_latest(registry).decode()
