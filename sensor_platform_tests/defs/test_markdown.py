from datetime import UTC, datetime

from sensor_platform.defs.markdown import figures_table, markdown_table, table_entry


def test_a_table_has_the_first_rows_and_only_columns_that_say_something() -> None:
    rows = [{"sensor": "press", "value": 1.5, "text": None}, {"sensor": "oven", "value": 20_000, "text": None}]
    assert markdown_table(rows) == "| sensor | value |\n| --- | --- |\n| press | 1.5 |\n| oven | 20000 |"
    assert "oven" not in markdown_table(rows, most=1)


def test_a_cell_cannot_break_out_of_its_row_nor_become_html() -> None:
    table = markdown_table([{"payload": "a | b\n`c` <script>", "long": "x" * 100}])
    assert table.splitlines()[2] == f"| a \\| b 'c' &lt;script> | {'x' * 79}… |"
    assert len(table.splitlines()) == 3


def test_times_are_utc_and_say_so() -> None:
    at = datetime(2026, 11, 23, 10, 0, 1, 500_000, tzinfo=UTC)
    assert "| 2026-11-23 10:00:01.500Z |" in markdown_table([{"time": at}])
    assert "| 2026-11-23 10:00Z |" in markdown_table([{"time": at.replace(second=0, microsecond=0)}])


def test_figures_stand_one_below_the_other_and_no_rows_are_no_entry() -> None:
    assert figures_table({"decode, s": 0.25, "messages": 1_200}).splitlines()[2:] == [
        "| decode, s | 0.25 |",
        "| messages | 1,200 |",
    ]
    assert table_entry("newest_rows", []) == {}
