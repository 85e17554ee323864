"""`docs/schema.md` is what the database says of itself."""

from pathlib import Path

from sensor_platform.database.describe import describe, markdown
from sensor_platform.database.engine import Database

PAGE = Path(__file__).parents[2] / "docs" / "schema.md"


def test_the_page_is_in_step_with_the_tables(database: Database) -> None:
    with database.connect() as connection:
        found = markdown(describe(connection))
    assert PAGE.read_text("utf-8").endswith(found), "run `sensor-platform db describe`, and put it into docs/schema.md"


def test_every_table_and_view_says_what_it_is(database: Database) -> None:
    with database.connect() as connection:
        relations = describe(connection)
    assert [relation.name for relation in relations if not relation.comment] == []
    assert {relation.kind for relation in relations} == {"table", "view"}
    assert not any("_20" in relation.name for relation in relations)
