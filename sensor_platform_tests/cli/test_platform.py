"""What `up` says when it is ready."""

from sensor_platform.cli.platform import links
from sensor_platform.embedded.run_file import Running


def test_the_links_show_no_password_even_of_a_broker_whose_url_has_one() -> None:
    running = Running(
        pid=1,
        mqtt_url="mqtts://anna:s3cret@broker.example:8883",
        mqtt_username=None,
        mqtt_password_file=None,
        database_url="postgresql://anna:s3cret@db.example/plant",
        staging_url="file:///staging",
        dagster_url="http://127.0.0.1:3000",
        api_url="http://127.0.0.1:8080",
        token_file="/home/secrets/api_token",
    )
    said = links(running, token="t0ken")
    assert "s3cret" not in "\n".join(said)
    assert "  broker      mqtts://broker.example:8883 (user anna)" in said
    assert "  live page   http://127.0.0.1:8080/#token=t0ken" in said
