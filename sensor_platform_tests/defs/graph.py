"""The asset graph in plain values: what the snapshot holds, and how to write it anew.

python -m sensor_platform_tests.defs.graph
"""

import json
from pathlib import Path
from typing import Any

from sensor_platform.definitions import defs

SNAPSHOT = Path(__file__).with_name("graph.json")


def graph() -> dict[str, Any]:
    """Assets with dependencies, groups, kinds, owners, partitions and checks; jobs, sensors and schedules."""
    repository = defs.get_repository_def()
    checks = sorted((key.asset_key.to_user_string(), key.name) for key in repository.asset_graph.asset_check_keys)
    return {
        "assets": {
            spec.key.to_user_string(): {
                "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
                "group": spec.group_name,
                "kinds": sorted(spec.kinds),
                "owners": list(spec.owners),
                "partitions": type(spec.partitions_def).__name__ if spec.partitions_def else None,
                "checks": [name for asset, name in checks if asset == spec.key.to_user_string()],
            }
            for spec in sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key)
        },
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "schedules": sorted(f"{s.name}: {s.default_status.value}" for s in repository.schedule_defs),
        "sensors": sorted(f"{s.name}: {s.default_status.value}" for s in repository.sensor_defs),
    }


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(graph(), indent=2) + "\n", encoding="utf-8")
