"""The filters that a collector is to be subscribed to: those of the routes, and those that were added while it ran."""

from collections.abc import Callable

from sensor_platform.mqtt.subscriber import Standing
from sensor_platform.mqtt.subscriptions import AddedSubscriptions, cover, in_group


class Wanted:
    """`filters`, as the broker is told: replaced as a whole, by the witness's thread too, which then calls `on_change`.

    `standing`: what the broker said of each, for the witness.
    """

    def __init__(
        self,
        of_routes: tuple[str, ...],
        kept_added: AddedSubscriptions,
        *,
        share_group: str | None,
        on_change: Callable[[], None],
    ) -> None:
        self._of_routes = of_routes
        self._kept_added = kept_added
        self._share_group = share_group
        self._on_change = on_change
        self.filters = self._told_as(kept_added.read())
        self.standing: tuple[Standing, ...] = ()

    def added(self, filters: tuple[str, ...]) -> None:
        """What the database says was added while running; the witness's thread calls it when that changes."""
        if filters != self._kept_added.read():
            self._kept_added.write(filters)
        wanted = self._told_as(filters)
        if wanted != self.filters:
            self.filters = wanted
            self._on_change()

    def _told_as(self, added: tuple[str, ...]) -> tuple[str, ...]:
        return in_group(cover(self._of_routes, added), self._share_group)
