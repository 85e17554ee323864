from sensor_platform.routes.model import Route, Routes
from sensor_platform.routes.nearest import nearest

ROUTES = Routes(
    [
        Route(name="data", filter="f/{work_unit}/{sensor}/data", format="json"),
        Route(name="tree", filter="f/line1/x/#", format="json", work_unit="a", sensor="b"),
        Route(name="any", filter="+", format="json", work_unit="a", sensor="b"),
    ]
)


def test_the_nearest_filter_comes_first_with_the_level_in_which_it_differs() -> None:
    near = nearest(ROUTES, "f/line1/press/dat")
    assert [(miss.route.name, miss.why) for miss in near] == [
        ("tree", 'level 3 is "press", the filter has "x"'),
        ("data", 'level 4 is "dat", the filter has "data"'),
        ("any", "the topic has 4 levels, the filter 1"),
    ]


def test_what_matches_is_no_near_miss_and_there_are_only_so_many() -> None:
    assert [miss.route.name for miss in nearest(ROUTES, "f/line1/press/data", count=1)] == ["tree"]


def test_a_dollar_hides_a_topic_from_wildcards() -> None:
    miss = nearest(ROUTES, "$SYS", count=1)[0]
    assert (miss.route.name, miss.why) == (
        "any",
        "a wildcard in the first level matches no topic that begins with $",
    )


def test_an_open_end_says_how_many_levels_it_wants_at_least() -> None:
    assert nearest(ROUTES, "f/line1", count=1)[0].why == "the topic has 2 levels, the filter at least 3"
