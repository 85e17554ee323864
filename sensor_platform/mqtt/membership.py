"""Whether a member of a share group may end its session: only while another member keeps one with the same filters.

Otherwise what is published until the group comes back would have no subscriber. Members that stop together ask one
after the other, under a lock of the table: the last of them keeps its session, and the broker keeps the messages in it.
"""

from collections.abc import Sequence

import psycopg

from sensor_platform.log import get_logger

#: A stop is bounded, and more is to be done in it.
CONNECT_TIMEOUT_S = 2
OPTIONS = "-c statement_timeout=1500 -c lock_timeout=1500 -c application_name=sensor-platform-collector"

TAKE_TURNS = "lock table sensor_platform.collector_subscription in share row exclusive mode"
#: Filters of ours that no other member would go on with.
ALONE = """
    select mine.filter from unnest(%s::text[]) as mine (filter) where not exists (
        select from sensor_platform.collector_subscription other
        join sensor_platform.collector_heartbeat beat using (collector)
        where other.filter = mine.filter and other.state = 'granted' and other.collector <> %s
          and beat.state <> 'stopped' and beat.beat_at > now() - interval '10 s'
    ) limit 1
"""
GO = "delete from sensor_platform.collector_subscription where collector = %s"


def may_leave(database_url: str, collector: str, filters: Sequence[str]) -> bool:
    """True: the others know that it is gone. Without an answer of the database it stays: that loses nothing."""
    try:
        with psycopg.connect(database_url, connect_timeout=CONNECT_TIMEOUT_S, options=OPTIONS) as connection:
            connection.execute(TAKE_TURNS)
            if connection.execute(ALONE, (list(filters), collector)).fetchone() is not None:
                return False
            connection.execute(GO, (collector,))
            return True
    except psycopg.Error as err:
        get_logger().warning("session_is_kept", reason="the database does not say who else is there", error=str(err))
        return False
