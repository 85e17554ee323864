"""Connections that end soon, again and again, without a word: what a client id that is used twice looks like."""

from sensor_platform.errors import BrokerError, BrokerUnreachableError, ClientIdTakenError
from sensor_platform.mqtt.connection import Endpoint

#: They end this soon, this often.
SHORT_S = 5.0
SHORT_CONNECTIONS = 3


class ShortConnections:
    """Counts them. The collector's thread calls everything."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._in_a_row = 0

    def judged(self, err: BrokerError, endpoint: Endpoint, *, was_connected: bool, lasted_s: float) -> BrokerError:
        """`err`, with which a connection ended, or what it means after others."""
        # 3.1.1 has no word for it, and mosquitto 2.0 says none on 5 either while messages are in flight.
        is_short = isinstance(err, BrokerUnreachableError) and was_connected and lasted_s < SHORT_S
        self._in_a_row = self._in_a_row + 1 if is_short else 0
        if self._in_a_row >= SHORT_CONNECTIONS:
            return ClientIdTakenError(
                f"broker {endpoint}: it ended {self._in_a_row} connections within seconds. Does "
                f"another client use the client id {self._client_id!r}? Give each collector its own MQTT_CLIENT_ID."
            )
        return err
