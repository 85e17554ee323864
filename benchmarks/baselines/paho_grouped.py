"""A plain paho script that groups: up to 500 messages or 10 ms, then one write, one sync, and the acknowledgements."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

GROUP = 500
AGE_S = 0.01


def main(port: str, username: str, password: str, protocol: str, topic: str, messages: str, path: str) -> None:
    version = mqtt.MQTTv5 if protocol == "5" else mqtt.MQTTv311
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "paho-grouped", protocol=version, manual_ack=True)
    client.username_pw_set(username, password)
    group: list[mqtt.MQTTMessage] = []

    def on_connect(client: mqtt.Client, *_: Any) -> None:
        client.subscribe(topic, qos=1)

    def on_message(client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        group.append(message)

    client.on_connect = on_connect
    client.on_message = on_message
    client.connect("127.0.0.1", int(port))
    left, committed_s = int(messages), time.monotonic()
    with Path(path).open("wb", buffering=0) as file:
        while left > 0:
            client.loop(timeout=AGE_S)
            if group and (len(group) >= GROUP or time.monotonic() - committed_s > AGE_S):
                file.write(b"".join(message.payload + b"\n" for message in group))
                os.fdatasync(file.fileno())
                for message in group:
                    client.ack(message.mid, message.qos)
                left -= len(group)
                group.clear()
                committed_s = time.monotonic()
    print("done", file=sys.stderr, flush=True)
    client.disconnect()


if __name__ == "__main__":
    main(*sys.argv[1:])
