"""Which version of MQTT the next connection speaks: as the settings say, or 5, and 3.1.1 where the broker has no 5."""

from sensor_platform.errors import SensorPlatformError
from sensor_platform.mqtt.connection import Protocol, UnsupportedProtocolError
from sensor_platform.mqtt.session import NoAnswerError


class ProtocolChoice:
    """`setting`: MQTT_PROTOCOL. The collector's thread calls everything."""

    def __init__(self, setting: str) -> None:
        self._is_free = setting == "auto"
        self._is_old_broker = False
        self.next = Protocol.V311 if setting == "3.1.1" else Protocol.V5

    def asks_for_5_again(self) -> bool:
        """After a CONNACK. 3.1.1 was answered and 5 was not: perhaps nobody was there then, so 5 is asked once more."""
        if self.next is Protocol.V5:
            self._is_old_broker = False
        elif self._is_free and not self._is_old_broker:
            self._is_old_broker, self.next = True, Protocol.V5
            return True
        return False

    def turned_down(self, err: SensorPlatformError) -> bool:
        """Whether the connection ended for its version, so that the other one is tried."""
        if not (self._is_free and isinstance(err, UnsupportedProtocolError | NoAnswerError)):
            return False
        self._is_old_broker = self._is_old_broker or isinstance(err, UnsupportedProtocolError)
        self.next = Protocol.V311 if self.next is Protocol.V5 else Protocol.V5
        return True

    def falls_back(self, err: SensorPlatformError) -> bool:
        """Whether the broker said that it does not know 5."""
        return isinstance(err, UnsupportedProtocolError) and self._is_free and self.next is Protocol.V311

    def asks_for_3_1_1(self, err: SensorPlatformError) -> bool:
        """Hanging up on version 5 is how some old brokers say that they do not know it."""
        return isinstance(err, NoAnswerError) and self._is_free and self.next is Protocol.V311
