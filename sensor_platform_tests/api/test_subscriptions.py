"""Filters added and removed by HTTP: the batches of `database.subscriptions`, and their refusals as answers."""

from sensor_platform_tests.api.served import Served


def test_a_batch_is_added_listed_and_removed(served: Served) -> None:
    body = {"filters": ["over-http/+", "over-http-too"]}
    added = served.http.post("/api/mqtt/subscriptions", json=body)
    assert (added.status_code, added.json()["added"]) == (200, body["filters"])
    found = {each["filter"]: each for each in served.http.get("/api/mqtt/subscriptions").json()["subscriptions"]}
    assert (found["over-http/+"]["origin"], found["over-http/+"]["added_by"]) == ("added", "api")
    removed = served.http.request("DELETE", "/api/mqtt/subscriptions", json=body)
    assert removed.json() == {"removed": body["filters"], "notes": []}


def test_a_refused_batch_says_why(served: Served) -> None:
    answer = served.http.post("/api/mqtt/subscriptions", json={"filters": ["fine", "not#fine"]})
    assert answer.status_code == 409
    assert answer.json()["error"]["what"].startswith('"not#fine" is not a topic filter')
    answer = served.http.request("DELETE", "/api/mqtt/subscriptions", json={"filters": ["fine"]})
    assert answer.json()["error"]["what"].startswith("fine was never added")
