"""Every folder of testcases/ is a case: see README.md there."""

from pathlib import Path

import pytest

from sensor_platform.pipeline.cases import Became, described, differences, expected_of, one_message_of
from sensor_platform.pipeline.decode import decode
from sensor_platform.pipeline.message import table_of
from sensor_platform.routes.cases import Case, read_case
from sensor_platform.routes.file import parse_routes
from sensor_platform.routes.model import Routes

ROOT = Path(__file__).parent
CASES = sorted(path.parent for path in ROOT.rglob("route.yaml"))
USUAL = {"work_unit": "line1", "sensor": "press"}  # as the captures become


def read(folder: Path) -> tuple[Case, Routes]:
    routes = parse_routes((folder / "route.yaml").read_text(encoding="utf-8"))
    (route,) = routes
    topic = route.filter.replace("{work_unit}", "line1").replace("{sensor}", "press")
    return read_case(folder, root=ROOT, topic=topic), routes


def became(case: Case, routes: Routes) -> Became:
    messages = table_of(map(one_message_of, (*case.before, case.message)))
    decoded = decode(messages, routes, max_payload_bytes=1_000_000)
    last = len(case.before)
    readings = decoded.readings[decoded.readings["message"] == last]
    refusals = [refusal for refusal in decoded.refusals if refusal.message == last]
    found = described(readings.to_dict("records"), refusals, usual=USUAL)
    return {**found, "ignored": True} if decoded.ignored[last] else found


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: "/".join(folder.relative_to(ROOT).parts))
def test_a_case_decodes_as_its_folder_says(folder: Path) -> None:
    case, routes = read(folder)
    diff = differences(expected_of(case), became(case, routes))
    assert not diff, "\n".join(diff)


def test_there_are_cases_of_each_format_that_comes_along() -> None:
    formats = [folder.relative_to(ROOT).parts[0] for folder in CASES]
    assert formats.count("json") >= 30
    assert formats.count("csv") >= 12
    assert formats.count("binary") >= 15
    assert formats.count("modbus") >= 15
