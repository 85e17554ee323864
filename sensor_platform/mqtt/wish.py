"""Whether to collect just now: what the control row says, and who stops the collector."""

from sensor_platform.mqtt.control import Witness


class Wish:
    """Asked by the collector's thread; `stopping` is set from anywhere.

    Args:
        managed: whether the control row counts.
        leaves: it collects only to leave, whatever the row says.
    """

    def __init__(self, *, managed: bool, leaves: bool) -> None:
        self.managed = managed
        self.leaves = leaves
        self.stopping = False
        self.witness: Witness | None = None

    def is_wished(self) -> bool:
        return self.leaves or self.witness is None or not self.managed or self.witness.wished

    def should_drain(self) -> bool:
        return self.stopping or not self.is_wished()
