"""The Dagster code location: what `dagster dev`, `dagster api grpc` and `workspace.yaml` load."""

from typing import Any

import dagster as dg

from sensor_platform.defs import dead_letters, health, ingest, metrics, retention
from sensor_platform.defs.resources import Platform


def build_defs(**overrides: Any) -> dg.Definitions:
    """All definitions. `overrides` replace resources by name: `build_defs(platform=Platform(settings))`."""
    shared = dg.Definitions(
        resources={"platform": Platform(), **overrides},
        # In the run's own process: a process a step would double the way of a reading.
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(
        shared,
        ingest.definitions,
        metrics.definitions,
        dead_letters.definitions,
        health.definitions,
        retention.definitions,
    )


defs = build_defs()
