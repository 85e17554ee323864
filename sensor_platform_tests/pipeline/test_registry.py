"""The registry: what people declare of places and sensors, from a file or by hand, with its history."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database import locks
from sensor_platform.database.engine import Database
from sensor_platform.pipeline.declarations import RegistryError
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.prepare import prepare
from sensor_platform.pipeline.registry import (
    history,
    import_registry,
    list_series,
    list_work_units,
    set_sensor,
    set_work_unit,
)
from sensor_platform.pipeline.registry_export import as_csv, as_yaml
from sensor_platform.pipeline.registry_file import read_registry
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import Message, in_metric, load, rows, stage, value
from sensor_platform_tests.waiting import wait_until

PLANT = """\
    work_units:
      - {work_unit: acme, level: enterprise}
      - {work_unit: hall-1, level: area, parent: acme, description: the old one}
      - work_unit: press
        level: cell
        parent: hall-1
    sensors:
      - work_unit: press
        sensor: p1
        description: hydraulic pressure
        expected_interval_s: 10
        metrics:
          - {metric: value, unit: bar, minimum: 0, maximum: 400}
      - {work_unit: press, sensor: p2}
    """


@pytest.fixture
def plant(tmp_path: Path) -> Path:
    return written(tmp_path / "plant.yaml", PLANT)


def written(path: Path, text: str) -> Path:
    path.write_text(dedent(text), encoding="utf-8")
    return path


def told(database: Database, path: Path, **options: Any) -> list[tuple[Any, ...]]:
    """The changes of an import."""
    done = import_registry(database, path, by="eve", **options)
    return [(change.subject, change.before, change.after) for change in done.changes]


def test_a_file_is_the_registry_and_the_second_time_nothing_changes(database: Database, plant: Path) -> None:
    would = told(database, plant, dry_run=True)
    assert list_series(database) == []
    assert told(database, plant) == would
    assert would == [
        (("acme",), {}, {"level": "enterprise"}),
        (("hall-1",), {}, {"level": "area", "parent": "acme", "description": "the old one"}),
        (("press",), {}, {"level": "cell", "parent": "hall-1"}),
        (
            ("press", "p1"),
            {},
            {"declared": True, "description": "hydraulic pressure", "expected_interval_s": 10.0},
        ),
        (("press", "p1", "value"), {}, {"unit": "bar", "minimum": 0.0, "maximum": 400.0}),
        (("press", "p2"), {}, {"declared": True}),
    ]
    assert told(database, plant) == []
    assert [(row["path"], row["level"], row["sensors"]) for row in list_work_units(database)] == [
        ("acme", "enterprise", 0),
        ("acme / hall-1", "area", 0),
        ("acme / hall-1 / press", "cell", 2),
    ]
    assert [(row["sensor"], row["metric"], row["declared"], row["seen"]) for row in list_series(database)] == [
        ("p1", "value", True, False),
        ("p2", None, True, False),
    ]


def test_what_the_file_leaves_out_stays_and_null_takes_away(database: Database, plant: Path, tmp_path: Path) -> None:
    import_registry(database, plant, by="eve")
    less = """\
        sensors:
          - work_unit: press
            sensor: p1
            description: null
            metrics:
              - {metric: value, minimum: 5}
        """
    assert told(database, written(tmp_path / "less.yaml", less)) == [
        (("press", "p1"), {"description": "hydraulic pressure"}, {"description": None}),
        (("press", "p1", "value"), {"minimum": 0.0}, {"minimum": 5.0}),
    ]
    (first, _) = list_series(database)
    assert (first["unit"], first["maximum"], first["expected_interval_s"], first["parent"]) == (
        "bar",
        400,
        10,
        "hall-1",
    )


def test_csv_says_the_same_and_an_export_changes_nothing(database: Database, plant: Path, tmp_path: Path) -> None:
    table = """\
        work_unit;level;parent;sensor;description;expected_interval_s;metric;unit;minimum;maximum
        acme;enterprise;;;;;;;;
        hall-1;area;acme;;the old one;;;;;
        press;cell;hall-1;p1;hydraulic pressure;10;value;bar;0;400

        press;cell;;p2;;;;;;
        """
    by_subject = {one.subject: dict(one.says) for one in read_registry(plant)}
    assert {one.subject: dict(one.says) for one in read_registry(written(tmp_path / "a.csv", table))} == by_subject
    import_registry(database, plant, by="eve")
    for name, export in (("out.yaml", as_yaml), ("out.csv", as_csv)):
        text = export(database)
        assert "hydraulic pressure" in text
        assert told(database, written(tmp_path / name, text)) == []


@pytest.mark.parametrize(
    ("name", "text", "problems"),
    [
        (
            "a.yaml",
            """\
            sensors:
              - work_unit: press
                sensor: p1
                expected_interval_s: 0
                metrics:
                  - metric: value
                    minimun: 3
                  - unit: bar
              - sensor: 7
            """,
            [
                "a.yaml:4: press/p1: expected_interval_s: 0: it is not above 0",
                'a.yaml:7: press/p1 value: unknown key minimun. Did you mean "minimum"? Known: calibrations',
                "a.yaml:8: press/p1: metric is missing",
                "a.yaml:9: 7: work_unit is missing",
                "a.yaml:9: 7: sensor: 7: it is not a text",
            ],
        ),
        (
            "a.yaml",
            "work_units:\n  - {work_unit: [",
            ["a.yaml:2: not YAML: expected the node content, but found '<stream end>'"],
        ),
        ("a.yaml", "- press\n", ["a.yaml:1: a registry file is a mapping with lists under work_units and sensors"]),
        (
            "a.yaml",
            "work_units:\n  - {work_unit: a}\n  - {work_unit: a, level: line}\n",
            ["a.yaml:3: a is here, and in line 2 already"],
        ),
        (
            "a.yaml",
            "work_units:\n  - &a {work_unit: a}\n  - *a\n",
            ["a.yaml:2: a is here, and an alias says it once more"],
        ),
        (
            "a.yaml",
            """\
            sensors:
              - {work_unit: press, sensor: p1, expected_interval_s: .inf, metrics: bar}
              - {work_unit: press, sensor: "", description: true}
              - p2
            """,
            [
                "a.yaml:2: press/p1: expected_interval_s: inf: it is not a finite number",
                "a.yaml:2: press/p1: metrics: 'bar': it is not a list",
                "a.yaml:3: press: sensor: '': it is empty",
                "a.yaml:3: press: description: True: it is not a text",
                "a.yaml:4: sensors: 'p2': it is not a mapping",
            ],
        ),
        (
            "a.csv",
            """\
            work_unit,sensor,description,metric,minimum
            press,p1,left,value,low
            press,p1,right,value,1
            ,p1,,,
            press,,,,3
            press,p2,,value,1,2
            """,
            [
                "a.csv:2: press/p1 value: minimum: 'low': it is not a number",
                "a.csv:3: press/p1: description is right here, and left in line 2",
                "a.csv:4: a sensor without a work_unit",
                "a.csv:5: minimum is of a metric, and the row names none",
                "a.csv:6: 6 cells, and 5 columns",
            ],
        ),
        (
            "a.csv",
            "sensor,limit\n",
            ['a.csv:1: the column "limit" is unknown.', "a.csv:1: the column work_unit is missing."],
        ),
        ("a.txt", "", ["a.txt: a registry file ends in .yaml, .yml, .csv"]),
    ],
)
def test_every_problem_of_a_file_is_told_with_its_line(
    tmp_path: Path, name: str, text: str, problems: list[str]
) -> None:
    path = written(tmp_path / name, text)
    with pytest.raises(RegistryError) as caught:
        read_registry(path)
    found = [problem.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert len(found) == len(problems)
    assert [one for one, start in zip(found, problems, strict=True) if not one.startswith(start)] == []


def test_a_file_that_cannot_be_is_imported_in_no_part(database: Database, tmp_path: Path) -> None:
    text = """\
        work_units:
          - {work_unit: a, parent: c, level: line}
          - {work_unit: b, parent: a}
          - {work_unit: c, parent: b}
          - {work_unit: d, parent: e, level: site}
          - {work_unit: e, level: cell}
        sensors:
          - work_unit: d
            sensor: s
            metrics:
              - {metric: m, minimum: 2, maximum: 1}
        """
    path = written(tmp_path / "plant.yaml", text)
    with pytest.raises(RegistryError) as caught:
        import_registry(database, path, by="eve")
    assert caught.value.problems == (
        f"{path}:2: work unit 'a' cannot lie in 'c': that lies in 'a', or is it",
        f"{path}:5: work unit 'd' is of level site, and cannot lie in 'e' of level cell",
        f"{path}:11: d/s m: the minimum 2.0 is above the maximum 1.0",
    )
    assert list_work_units(database) == list_series(database) == history(database) == []


def test_a_work_unit_set_by_hand_never_lies_in_itself(database: Database) -> None:
    set_work_unit(database, "press", parent="hall", level="cell")
    set_work_unit(database, "hall", parent="site")
    for name, parent in (("site", "press"), ("site", "site")):
        with pytest.raises(RegistryError, match="cannot lie in"):
            set_work_unit(database, name, parent=parent)
    set_work_unit(database, "press", parent="", level="")
    assert [(row["path"], row["level"]) for row in list_work_units(database)] == [
        ("press", None),
        ("site", None),
        ("site / hall", None),
    ]


def test_every_change_is_history_with_who_and_what_stood_before(
    database: Database, staging: LocalStaging, plant: Path
) -> None:
    stage(staging, "a", [value(1, unit="bar")])
    load(staging, database)
    import_registry(database, plant, by="eve")
    set_sensor(database, "p1", metric="value", unit="kPa", by="adam")
    newest, *imported = history(database, name="press/p1")
    assert (newest["version"], newest["by"], newest["source"], newest["kind"]) == (2, "adam", None, "series")
    assert newest["before"] == {"unit": "bar", "maximum": 400}
    assert newest["after"] == {"unit": "kPa", "maximum": 40000}
    assert [(row["version"], row["by"], row["source"]) for row in imported] == [(1, "eve", str(plant))] * 2
    assert in_metric(database) == [(100.0, None, 1)]
    assert rows(database, "SELECT registry_as_of FROM ledger") == [(0,)]
    load(staging, database, mode=Mode.AGAIN)
    assert rows(database, "SELECT registry_as_of FROM ledger") == [(2,)]


def test_a_sensor_of_which_a_reading_comes_is_seen(database: Database, staging: LocalStaging, plant: Path) -> None:
    import_registry(database, plant, by="eve")
    stage(staging, "a", [value(1)])
    stage(staging, "b", [value(2)], first_sequence=2)
    load(staging, database)
    assert [(row["sensor"], row["declared"], row["seen"]) for row in list_series(database)] == [
        ("p1", True, True),
        ("p2", True, False),
    ]
    (row,) = rows(database, "SELECT first_seen_at IS NOT NULL, declared_at IS NOT NULL FROM sensor WHERE name = 'p1'")
    assert row == (True, True)


def test_an_import_while_a_load_registers_ends_as_one_after_the_other(
    database: Database, staging: LocalStaging, plant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load has decoded in millibar and registered; the import says bar before its turn comes."""
    stage(staging, "a", [value(1000, unit="mbar"), value(500000, unit="mbar")])
    prepared = []

    def meanwhile(*given: Any, **more: Any) -> Any:
        outcome = prepare(*given, **more)
        if not prepared:
            import_registry(database, plant, by="eve")
        prepared.append(outcome.readings.value.tolist())
        return outcome

    monkeypatch.setattr("sensor_platform.pipeline.process.prepare", meanwhile)
    report = load(staging, database)
    assert prepared == [[1000.0, 500000.0], [1.0]]
    assert report.refused_by_code == {"above_maximum": 1}
    assert in_metric(database) == [(1.0, None, 1)]
    assert rows(database, "SELECT registry_as_of FROM ledger") == [(1,)]


def test_imports_and_loads_of_the_same_new_sensors_wait_for_each_other(
    database: Database, staging: LocalStaging, tmp_path: Path
) -> None:
    names = [f"p{n}" for n in range(20)]
    text = "sensors:\n" + "".join(
        f"  - {{work_unit: press, sensor: {name}, metrics: [{{metric: value, unit: bar}}]}}\n" for name in names
    )
    path = written(tmp_path / "plant.yaml", text)
    for number in range(4):
        messages = [value(n, unit="mbar") for n in range(20)]
        topics = [
            Message(message.payload, f"factory/press/sensors/{name}/data")
            for name, message in zip(reversed(names), messages, strict=True)
        ]
        stage(staging, f"m{number}", topics, first_sequence=100 * number)
    with ThreadPoolExecutor(4) as pool:
        with database.begin() as connection:
            locks.take(connection, locks.LOAD)  # all of them are on their way before the first may write
            loads = [pool.submit(load, staging, database) for _ in range(2)]
            imports = [pool.submit(import_registry, database, path, by="eve") for _ in range(2)]
            wait_until(lambda: _waiting(database) == 4, "four that wait for the lock", 60)
        assert sum(each.result(timeout=60).readings.inserted for each in loads) == 20
        assert sorted(len(each.result(timeout=60).changes) > 0 for each in imports) == [False, True]
    assert {row["unit"] for row in list_series(database)} == {"bar"}
    assert sorted(number for number, *_ in in_metric(database)) == [n / 1000 for n in range(20)]


def _waiting(database: Database) -> int:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with database.connect() as connection:
        return int(connection.execute(sa.text(query)).scalar_one())
