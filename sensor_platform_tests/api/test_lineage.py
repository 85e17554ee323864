"""From a number to its bytes and back, over HTTP."""

import base64

from sensor_platform.database.engine import Database
from sensor_platform.settings import Settings
from sensor_platform.staging.place import staging_root
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.api.served import Served
from sensor_platform_tests.pipeline.staged import HOUR, Message, load, routes, stage, value


def test_a_number_leads_to_its_message_and_the_message_to_the_number(
    served: Served, database: Database, settings: Settings
) -> None:
    staging = LocalStaging(staging_root(settings))
    stage(staging, "a", [value(1.5), Message(b"rubbish"), Message(b'{"value": NaN}')])
    load(staging, database, using=routes(", allow_nan: true"), run_id="run 1")
    wanted = {"sensor": "press/p1", "metric": "value", "time": HOUR.isoformat()}
    (traced,) = served.http.get("/api/trace", params=wanted).json()
    assert (traced["micro_batch"], traced["sequence"], traced["run_id"]) == ("a", 1, "run 1")
    assert base64.b64decode(traced["payload_base64"]) == value(1.5).bytes
    became = served.http.get("/api/messages/a/1").json()
    assert (became["class"], became["readings"][0]["value"]) == ("accepted", 1.5)
    assert served.http.get("/api/messages/a/2").json()["dead_letters"][0]["code"] == "invalid_json"
    # JSON has no NaN.
    assert served.http.get("/api/messages/a/3").json()["readings"][0]["value"] is None
    found = served.http.get("/api/messages", params={"topic": "factory/#", "from": HOUR.isoformat(), "limit": 2})
    assert [row["sequence"] for row in found.json()] == [1, 2]


def test_what_is_not_there_is_said(served: Served, settings: Settings) -> None:
    stage(LocalStaging(staging_root(settings)), "a", [value(1)])
    assert served.http.get("/api/messages/b/1").status_code == 404
    assert "it holds 1 to 1" in served.http.get("/api/messages/a/9").json()["error"]["what"]
    assert served.http.get("/api/messages/a/1").json()["class"] == "pending"
    wrong = served.http.get("/api/messages", params={"topic": "a/#/b", "from": HOUR.isoformat()})
    assert (wrong.status_code, "a/#/b" in wrong.json()["error"]["what"]) == (422, True)
    unknown = {"sensor": "p9", "metric": "value", "time": HOUR.isoformat()}
    assert served.http.get("/api/trace", params=unknown).status_code == 404
