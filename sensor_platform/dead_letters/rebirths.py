"""Asks Sparkplug nodes to be born again whose data is refused for want of a birth, or of an alias in it, and those of
whom messages are missing.

Called after a load, outside of its transaction: a broker that does not answer delays nothing but this. A node is asked
once per interval, whoever asks, since the note that says so is written in the transaction that publishes; it is not
asked when its birth has come in the meantime.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import rebirth_request, sparkplug_node
from sensor_platform.errors import SensorPlatformError
from sensor_platform.log import get_logger
from sensor_platform.mqtt.publisher import Publisher
from sensor_platform.settings import Settings
from sensor_platform.transformers.sparkplug_topic import Type, command_topic, place_of

#: What is older was not refused by what the node sends now.
LATELY = timedelta(hours=1)
#: A broker that has not taken the requests after this is asked again after the next load.
TIMEOUT_S = 10.0

Order = tuple[datetime, bytes, int]  # of the micro-batch, its name, the sequence


def ask_for_rebirths(database: Database, settings: Settings, *, now: datetime) -> list[str]:
    """Publishes "Node Control/Rebirth" to the nodes that need it; the topics of the commands.

    Raises:
        BrokerError: the broker does not take them; nothing is noted, so that the next call tries again.
    """
    interval_s = settings.dead_letters.rebirth_interval_s
    if not interval_s:
        return []
    with database.begin() as connection:
        commands = _claim(connection, _in_need(connection, now), now, timedelta(seconds=interval_s))
        if commands:
            _publish(settings, commands)
    if commands:
        get_logger().info("rebirth_requested", topics=commands)
    return commands


def try_to_ask(database: Database, settings: Settings, *, now: datetime) -> list[str]:
    """The same, for who has loaded and is done: whatever stands in the way is a warning."""
    try:
        return ask_for_rebirths(database, settings, now=now)
    except (SensorPlatformError, sa.exc.DBAPIError) as err:
        get_logger().warning("rebirth_not_requested", error=str(err))
        return []


def _in_need(connection: sa.Connection, now: datetime) -> set[str]:
    refused: dict[str, dict[str, Order]] = {}  # who -> topic of the command, and the newest message that was refused
    for row in connection.execute(_REFUSED_LATELY, {"since": now - LATELY}).mappings():
        place = place_of(row["topic"].decode("utf-8", "replace"))
        if place.type in (Type.DATA, Type.DEATH):
            refused.setdefault(place.key, {})[command_topic(place)] = _order(row)
    births = _births(connection, refused)
    unknown = {
        command
        for key, commands in refused.items()
        for command, order in commands.items()
        if key not in births or births[key] < order
    }
    return unknown | _interrupted(connection, now - LATELY)


def _interrupted(connection: sa.Connection, since: datetime) -> set[str]:
    """Nodes of whom messages are missing, and that were not born since."""
    query = sa.select(sparkplug_node.c.topic).where(sparkplug_node.c.gap_at >= since)
    return set(connection.execute(query).scalars())


def _births(connection: sa.Connection, keys: Iterable[str]) -> dict[str, Order]:
    rows = connection.execute(_NEWEST_DEFINITIONS, {"format": "sparkplug", "keys": sorted(keys)}).mappings()
    return {row["key"]: _order(row) for row in rows}


def _order(row: Mapping[Any, Any]) -> Order:
    return row["first_received_at"], row["name"].encode(), row["sequence"]


def _claim(connection: sa.Connection, commands: set[str], now: datetime, interval: timedelta) -> list[str]:
    """Those that were not asked within the interval; they count as asked from now on."""
    if not commands:
        return []
    rows = insert(rebirth_request).values([{"topic": topic, "asked_at": now} for topic in sorted(commands)])
    claim = rows.on_conflict_do_update(
        index_elements=["topic"],
        set_={"asked_at": rows.excluded.asked_at, "times": rebirth_request.c.times + 1},
        where=rebirth_request.c.asked_at <= now - interval,
    ).returning(rebirth_request.c.topic)
    return sorted(connection.execute(claim).scalars())


def _publish(settings: Settings, commands: list[str]) -> None:
    from sensor_platform.transformers.sparkplug_payload import rebirth_command

    payload = rebirth_command()
    with Publisher(settings, stall_timeout_s=TIMEOUT_S) as publisher:
        # QoS 1, though Sparkplug says 0: of a command that the broker did not take, we want to know.
        done = publisher.publish_all((topic, payload) for topic in commands)
    if done.unmatched:
        get_logger().warning("rebirth_unheard", of=done.published, unmatched=done.unmatched)


_REFUSED_LATELY = statement("sensor_platform.dead_letters", "refused_for_want_of_a_birth")
_NEWEST_DEFINITIONS = statement("sensor_platform.dead_letters", "newest_definitions")
