"""Fan-out: who gets what, in which order, and what a client that does not read loses."""

import asyncio

from sensor_platform.live.hub import FRAME_READINGS, Hub, LiveReading


def readings(channel: str, *values: int) -> list[LiveReading]:
    return [LiveReading(channel, str(value).encode()) for value in values]


def test_each_client_gets_its_own_channels_in_order() -> None:
    async def run() -> None:
        hub = Hub()
        with hub.subscriber() as press, hub.subscriber() as everything, hub.subscriber() as undecided:
            press.wants(["press/+"])
            everything.wants(["#"])
            hub.publish(readings("press/t1", 1, 2))
            hub.publish(readings("pump/t1", 3))
            assert await press.take() == ([b"1", b"2"], 0)
            assert await everything.take() == ([b"1", b"2", b"3"], 0)
            silent = asyncio.ensure_future(undecided.take())
            await asyncio.wait([silent], timeout=0)
            assert not silent.done()
            silent.cancel()

    asyncio.run(run())


def test_a_full_queue_drops_the_oldest_and_says_how_many() -> None:
    async def run() -> None:
        hub = Hub()
        with hub.subscriber(queue_readings=3) as slow:
            slow.wants(["#"])
            hub.publish(readings("a", 1, 2, 3, 4, 5))
            assert await slow.take() == ([b"3", b"4", b"5"], 2)
            hub.publish(readings("a", 6))
            assert await slow.take() == ([b"6"], 0)

    asyncio.run(run())


def test_a_frame_is_bounded_and_the_rest_follows() -> None:
    async def run() -> None:
        hub = Hub()
        with hub.subscriber() as client:
            client.wants(["#"])
            hub.publish(readings("a", *range(FRAME_READINGS + 1)))
            first, _ = await client.take()
            second, _ = await client.take()
            assert (len(first), second) == (FRAME_READINGS, [str(FRAME_READINGS).encode()])

    asyncio.run(run())


def test_the_hub_says_when_the_first_comes_and_the_last_goes() -> None:
    watched: list[bool] = []
    hub = Hub(on_watched=watched.append)
    with hub.subscriber():
        with hub.subscriber():
            assert len(hub) == 2
        assert watched == [True]
    assert watched == [True, False]
    assert len(hub) == 0
