"""Pathway's MQTT reader to a CSV file, as its documentation shows. It acknowledges before anything is durable.

Run by Pathway's own interpreter. In its favour: its log of each acknowledgement is off, and it commits every 100 ms
rather than every 1,500.
"""

import logging
import sys

import pathway as pw  # type: ignore[import-not-found, unused-ignore]  # in an environment of its own


def main(port: str, username: str, password: str, topic: str, path: str) -> None:
    logging.basicConfig(level=logging.WARNING)
    uri = f"mqtt://{username}:{password}@127.0.0.1:{port}/?client_id=pathway"
    table = pw.io.mqtt.read(uri, topic, qos=1, format="plaintext", autocommit_duration_ms=100)
    pw.io.csv.write(table, path)
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


if __name__ == "__main__":
    main(*sys.argv[1:])
