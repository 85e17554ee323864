"""The queue on disk: ordered, bounded, and there after a crash."""

import multiprocessing
import threading
from pathlib import Path

import pytest

from sensor_platform.errors import (
    InvalidMessageError,
    OfflineQueueBusyError,
    OfflineQueueError,
    OfflineQueueFullError,
)
from sensor_platform.mqtt.message import Message, MessageProperties
from sensor_platform.mqtt.offline_queue import DATABASE_FILE, OfflineQueue, QueueTotals


def message(number: int, **more: int) -> Message:
    return Message("plant/press", b"%d" % number, **more)


def waiting(queue: OfflineQueue) -> list[bytes]:
    return [each.message.payload for each in queue.head(limit=1000, max_bytes=10**9)]


def test_what_is_put_is_there_in_order_and_whole(tmp_path: Path) -> None:
    properties = MessageProperties(
        content_type="application/json",
        user_properties=(("line", "1"), ("line", "ä")),
        message_expiry_s=60,
        response_topic="answers",
        correlation_data=b"\x00\xff",
        is_text=False,
    )
    rich = Message("plant/press", b"\x00raw", qos=2, retain=True, properties=properties)
    with OfflineQueue(tmp_path / "new" / "queue") as queue:
        queue.put(rich)
        queue.put(message(2))
    with OfflineQueue(tmp_path / "new" / "queue") as queue:
        assert [each.message for each in queue.head(limit=10, max_bytes=1000)] == [rich, message(2)]
        assert queue.totals() == QueueTotals(waiting=2, refused=0, size_bytes=rich.size_bytes + message(2).size_bytes)


def test_only_what_was_removed_is_gone(tmp_path: Path) -> None:
    with OfflineQueue(tmp_path) as queue:
        for number in range(5):
            queue.put(message(number))
        first, second, *_ = queue.head(limit=5, max_bytes=1000)
        queue.remove([second.id])
        queue.set_aside([(first.id, "not authorised")])
        assert waiting(queue) == [b"2", b"3", b"4"]
        assert queue.totals().refused == 1
        queue.restore()
        assert waiting(queue) == [b"0", b"2", b"3", b"4"]
        queue.set_aside([(first.id, "not authorised")])
        assert queue.discard_refused() == 1
        assert queue.totals() == QueueTotals(waiting=3, refused=0, size_bytes=3 * message(1).size_bytes)


def test_a_batch_is_bounded_in_messages_and_bytes(tmp_path: Path) -> None:
    with OfflineQueue(tmp_path) as queue:
        for number in range(5):
            queue.put(message(number))
        assert len(queue.head(limit=3, max_bytes=10**9)) == 3
        assert len(queue.head(limit=5, max_bytes=2 * message(1).size_bytes)) == 2
        assert len(queue.head(limit=5, max_bytes=0)) == 1, "the first goes however large it is"


@pytest.mark.parametrize("bound", [{"max_messages": 3}, {"max_bytes": 3 * message(1).size_bytes}])
def test_a_full_queue_refuses_and_counts_what_was_refused_by_the_broker(tmp_path: Path, bound: dict[str, int]) -> None:
    with OfflineQueue(tmp_path, **bound) as queue:
        for number in range(3):
            queue.put(message(number))
        first = queue.head(limit=1, max_bytes=1000)[0]
        queue.set_aside([(first.id, "no")])
        with pytest.raises(OfflineQueueFullError, match=r'the queue is full .*"plant/press" is not in it'):
            queue.put(message(3))
        queue.remove([first.id])
        queue.put(message(4))
        assert waiting(queue) == [b"1", b"2", b"4"]


def test_a_full_queue_that_blocks_waits_for_room(tmp_path: Path) -> None:
    with OfflineQueue(tmp_path, max_messages=1, when_full="block") as queue:
        queue.put(message(1))
        blocked = threading.Thread(target=queue.put, args=[message(2)])
        blocked.start()
        blocked.join(0.3)
        assert blocked.is_alive()
        queue.remove([queue.head(limit=1, max_bytes=1)[0].id])
        blocked.join(20)
        assert waiting(queue) == [b"2"]
        stop = threading.Event()
        stop.set()
        with pytest.raises(OfflineQueueFullError):
            queue.put(message(3), stop=stop)


def test_a_message_larger_than_the_whole_queue_never_waits(tmp_path: Path) -> None:
    with OfflineQueue(tmp_path, max_bytes=100, when_full="block") as queue, pytest.raises(OfflineQueueFullError):
        queue.put(Message("a", bytes(200)))


def test_quality_of_service_0_is_not_queued(tmp_path: Path) -> None:
    with OfflineQueue(tmp_path) as queue, pytest.raises(InvalidMessageError, match="QoS 0 is never confirmed"):
        queue.put(message(1, qos=0))


def _fill(folder: Path, start: int) -> None:
    with OfflineQueue(folder) as queue:
        for number in range(start, start + 50):
            queue.put(message(number))


def test_several_processes_add_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_fill, args=(tmp_path, start)) for start in (0, 1000)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    with OfflineQueue(tmp_path) as queue:
        found = [int(each) for each in waiting(queue)]
        assert queue.totals().waiting == 100
    assert [each for each in found if each < 1000] == list(range(50))
    assert [each for each in found if each >= 1000] == list(range(1000, 1050))


def test_one_at_a_time_sends(tmp_path: Path) -> None:
    with OfflineQueue(tmp_path) as one, OfflineQueue(tmp_path) as other:
        with one.sending(), pytest.raises(OfflineQueueBusyError), other.sending():
            pass
        with other.sending():
            pass


def test_a_file_that_is_no_queue_is_said(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).write_bytes(b"not a database, " * 100)
    with pytest.raises(OfflineQueueError, match="not a database"), OfflineQueue(tmp_path):
        pass
