"""Brokers that the benchmarks need beside the embedded one: with a TLS listener, or with any configuration."""

from pathlib import Path

import trustme

from sensor_platform.embedded import process
from sensor_platform.embedded.broker import EmbeddedBroker
from sensor_platform.embedded.ports import any_free_port


class TlsBroker(EmbeddedBroker):
    """The embedded broker with a second listener, for subscribers: TLS, and an authority made for this run."""

    def __init__(self, home: Path, port: int) -> None:
        super().__init__(home, port)
        self.tls_port = any_free_port()
        self.ca = home / "ca.pem"

    def command(self) -> process.Command:
        command = super().command()
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        key = self.home / "server.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(key))
        with (self.folder / "mosquitto.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(f"\nlistener {self.tls_port} 127.0.0.1\ncertfile {key}\nkeyfile {key}\n")
        return command


class ConfiguredBroker(EmbeddedBroker):
    """mosquitto on loopback with these settings and nothing else but the user and what it needs to run."""

    def __init__(self, home: Path, settings: str) -> None:
        super().__init__(home, any_free_port())
        self._settings = settings

    def command(self) -> process.Command:
        command = super().command()
        (self.folder / "mosquitto.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {self.folder / 'passwords'}\n"
            f"persistence_location {self.folder}/\nuser root\nlog_dest stderr\n{self._settings}\n",
            encoding="utf-8",
        )
        return command
