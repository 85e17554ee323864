"""What is in force costs a look into an index, however long the history of its key: 100,000 births of one node here.

Judged by what PostgreSQL reads, never by the clock.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.pipeline.contents import digest_of

BIRTHS = 100_000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
#: Pages: three steps down an index, and the page of the row; for some look-ups of one statement.
FEW_PAGES = 40

POPULATE = """
WITH loaded AS (
    INSERT INTO sensor_platform.ledger (
        name, hour, first_received_at, last_received_at, route_versions, transformer_versions,
        staged, accepted, partial, dead_lettered, duplicate, ignored,
        decoded, inserted, duplicate_readings, refused, conflicts
    )
    SELECT 'a-' || to_char(n, 'FM000000'), date_trunc('hour', at, 'UTC'), at, at, '{}', '{"sparkplug": "1"}',
           0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
    FROM generate_series(0, :births - 1) AS n,
         LATERAL (SELECT CAST(:first AS timestamptz) + n * interval '1 minute' AS at) AS minute
    RETURNING id, name, first_received_at
), content AS (
    INSERT INTO sensor_platform.definition_content (digest, content) VALUES (:digest, '{}')
)
INSERT INTO sensor_platform.definition (format, key, first_received_at, name, sequence, micro_batch, content)
SELECT 'sparkplug', 'g/n', first_received_at, name, 1, id, :digest FROM loaded
"""


@pytest.fixture(scope="module")
def born(_databases: Any, _migrated: str) -> Iterator[Database]:
    """A database in which one node was born every minute for ten weeks."""
    _databases.make("born", template=_migrated)
    with Database(_databases.url("born")) as database:
        with database.begin() as connection:
            connection.execute(sa.text(POPULATE), {"births": BIRTHS, "first": FIRST, "digest": digest_of({})})
        with database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(sa.text("VACUUM (ANALYZE) sensor_platform.ledger, sensor_platform.definition"))
        yield database
    _databases.drop("born")


def place(birth: int) -> dict[str, Any]:
    at = FIRST + timedelta(minutes=birth)
    return {"at": at, "name": f"a-{birth:06d}", "sequence": 1}


def pages(connection: sa.Connection, query: sa.TextClause, **parameters: Any) -> int:
    """Pages that the statement reads; no table of definitions or micro-batches is scanned."""
    explain = sa.text("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + query.text)
    plan = connection.execute(explain, parameters).scalar_one()[0]["Plan"]
    assert {node.get("Relation Name") for node in nodes(plan) if node["Node Type"] == "Seq Scan"} <= {None}
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def sql(name: str, package: str = "pipeline") -> sa.TextClause:
    return statement(f"sensor_platform.{package}", name)


@pytest.mark.parametrize("birth", [10, BIRTHS // 2, BIRTHS - 10])
def test_what_is_in_force_at_a_place_is_found_in_few_pages(born: Database, birth: int) -> None:
    first, last = place(birth), place(birth + 2)
    bounds = {f"{name}_{what}": value for name, of in (("first", first), ("last", last)) for what, value in of.items()}
    with born.connect() as connection:
        found = connection.execute(sql("find_definitions"), {"format": "sparkplug", "keys": ["g/n"], **bounds}).all()
        assert [row.name for row in found] == [f"a-{birth + number:06d}" for number in (-1, 0, 1, 2)]
        assert pages(connection, sql("find_definitions"), format="sparkplug", keys=["g/n"], **bounds) < FEW_PAGES


@pytest.mark.parametrize("birth", [10, BIRTHS // 2, BIRTHS - 10])
def test_who_said_what_is_in_force_is_found_in_few_pages(born: Database, birth: int) -> None:
    asked = {"format": "sparkplug", "keys": ["g/n"], "micro_batch": f"a-{birth:06d}", "sequence": 1, "most": 3}
    with born.connect() as connection:
        found = connection.execute(sql("defined_before"), asked).all()
        assert [row.name for row in found] == [f"a-{birth - number:06d}" for number in (1, 2, 3)]
        assert pages(connection, sql("defined_before"), **asked) < FEW_PAGES


@pytest.mark.parametrize(
    ("package", "name"), [("pipeline", "latest_definitions"), ("dead_letters", "newest_definitions")]
)
def test_the_newest_is_found_in_few_pages(born: Database, package: str, name: str) -> None:
    with born.connect() as connection:
        asked = {"format": "sparkplug", "keys": ["g/n", "g/other"]}
        assert len(connection.execute(sql(name, package), asked).all()) == 1
        assert pages(connection, sql(name, package), **asked) < FEW_PAGES


def test_what_stands_around_a_changed_one_is_found_in_few_pages(born: Database) -> None:
    where = place(BIRTHS // 2)
    columns = {"formats": ["sparkplug"], "keys": ["g/n"]}
    for bound in ("first", "last"):
        columns |= {
            f"{bound}_at": [where["at"]],
            f"{bound}_names": [where["name"]],
            f"{bound}_sequences": [where["sequence"]],
        }
    with born.connect() as connection:
        around = connection.execute(sql("around_definitions"), columns).all()
        assert sorted(row.name for row in around) == ["a-049999", "a-050000", "a-050001"]
        assert pages(connection, sql("around_definitions"), **columns) < FEW_PAGES


def test_a_changed_one_marks_up_to_the_next_in_few_pages(born: Database) -> None:
    with born.connect() as connection:
        stretch = {"formats": ["sparkplug"], "firsts": ["a-050000"], "lasts": ["a-050001"], "made_now": []}
        # The micro-batches of an hour, 60 of them, stand close together.
        assert pages(connection, sql("mark_outdated"), **stretch) < 3 * FEW_PAGES
        marked = "SELECT name FROM sensor_platform.ledger WHERE definitions_changed_at IS NOT NULL ORDER BY name"
        assert list(connection.execute(sa.text(marked)).scalars()) == ["a-050000", "a-050001"]


def test_micro_batches_are_withdrawn_in_few_pages(born: Database) -> None:
    with born.connect() as connection:
        ids = list(connection.execute(sa.text("SELECT id FROM sensor_platform.ledger ORDER BY id LIMIT 3")).scalars())
        single = {"message_micro_batches": ids[1:2], "message_sequences": [1]}
        scope = {"micro_batches": ids, "whole": ids[:1], **single}
        assert pages(connection, sql("withdraw_definitions"), **scope) < FEW_PAGES
        left = "SELECT micro_batch FROM sensor_platform.definition WHERE micro_batch = ANY(:ids)"
        assert list(connection.execute(sa.text(left), {"ids": ids}).scalars()) == ids[2:]
