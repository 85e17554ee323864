"""The running Dagster webserver, asked over GraphQL: a command needs neither an instance nor a code location."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from sensor_platform.errors import DagsterUnavailableError

TIMEOUT_S = 60
ASSETS = ("readings", "dead_letters")
_PARTITIONS = """
query Partitions($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { __typename ... on AssetNode { partitionKeys } }
}"""
_BACKFILL = """
mutation Backfill($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on Error { message }
  }
}"""


@dataclass(frozen=True, slots=True)
class Webserver:
    """Dagster's webserver at `url`. Every method raises DagsterUnavailableError where it does not do as asked."""

    url: str

    def partitions(self) -> list[str]:
        """The keys of the received hours, oldest first."""
        answer = self._ask(_PARTITIONS, "assetNodeOrError", key={"path": [ASSETS[0]]})
        if answer["__typename"] != "AssetNode":
            raise DagsterUnavailableError(f"{self.url}: Dagster knows no asset readings: is the code location loaded?")
        keys: list[str] = answer["partitionKeys"]
        return keys

    def backfill(self, keys: Sequence[str], *, title: str, by: str) -> str:
        """Launches a backfill of `readings` and `dead_letters` over these hours; its id."""
        params = {
            "assetSelection": [{"path": [name]} for name in ASSETS],
            "partitionNames": list(keys),
            "title": title,
            "tags": [{"key": "sensor_platform/by", "value": by}],
        }
        answer = self._ask(_BACKFILL, "launchPartitionBackfill", params=params)
        if answer["__typename"] != "LaunchBackfillSuccess":
            raise DagsterUnavailableError(f"{self.url}: Dagster launches nothing: {answer.get('message') or answer}")
        backfill: str = answer["backfillId"]
        return backfill

    def page_of(self, backfill: str) -> str:
        return f"{self.url.rstrip('/')}/runs/b/{backfill}"

    def _ask(self, query: str, field: str, **variables: Any) -> dict[str, Any]:
        try:
            answer = httpx.post(
                f"{self.url.rstrip('/')}/graphql",
                json={"query": query, "variables": variables},
                timeout=TIMEOUT_S,
                trust_env=False,
            )
            body = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as err:
            raise DagsterUnavailableError(f"{self.url}: the Dagster webserver does not answer: {err}") from err
        if "errors" in body:
            raise DagsterUnavailableError(f"{self.url}: Dagster refuses the question: {body['errors'][0]['message']}")
        found: dict[str, Any] = body["data"][field]
        return found
