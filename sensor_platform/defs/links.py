"""From an asset in the Dagster UI to where its newest rows are seen."""

from dagster import MetadataValue

from sensor_platform.settings import load_settings


def live_page() -> dict[str, MetadataValue]:
    """The API's page. It asks for the token itself: metadata is no place for one."""
    api = load_settings().api
    return {"live_page": MetadataValue.url(f"http://{api.host}:{api.port}/")}
