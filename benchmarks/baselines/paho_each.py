"""A plain paho script: each message is written, synced and acknowledged before the next one."""

import os
import sys
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


def main(port: str, username: str, password: str, protocol: str, topic: str, messages: str, path: str) -> None:
    version = mqtt.MQTTv5 if protocol == "5" else mqtt.MQTTv311
    client = mqtt.Client(CallbackAPIVersion.VERSION2, "paho-each", protocol=version, manual_ack=True)
    client.username_pw_set(username, password)
    file = Path(path).open("wb", buffering=0)  # noqa: SIM115  # closed with the process
    left = int(messages)

    def on_connect(client: mqtt.Client, *_: Any) -> None:
        client.subscribe(topic, qos=1)

    def on_message(client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        nonlocal left
        file.write(message.payload + b"\n")
        os.fdatasync(file.fileno())
        client.ack(message.mid, message.qos)
        left -= 1
        if left == 0:
            print("done", file=sys.stderr, flush=True)
            client.disconnect()

    client.on_connect = on_connect
    client.on_message = on_message
    client.connect("127.0.0.1", int(port))
    client.loop_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
