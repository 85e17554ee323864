"""The MQTT broker that comes along: mosquitto with our configuration; where it is missing amqtt, a broker in Python.

Not mosquitto's stock configuration: that one drops past 1000 queued messages in silence and forgets all at a restart.
"""

import os
import shutil
import signal
import subprocess
import sys
from functools import cached_property
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Literal

from sensor_platform.embedded import process
from sensor_platform.embedded.ports import HOST, answers
from sensor_platform.embedded.secrets import private_folder, secret_file, write_private
from sensor_platform.embedded.server import EmbeddedServer
from sensor_platform.errors import BrokerUnreachableError, ConfigurationError

USERNAME = "sensor_platform"
# Debian keeps it where the PATH of a normal user does not reach.
_SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin"])


def find_mosquitto() -> str | None:
    """The path of mosquitto, when it and its mosquitto_passwd are installed."""
    return shutil.which("mosquitto", path=_SEARCH) if shutil.which("mosquitto_passwd", path=_SEARCH) else None


class EmbeddedBroker(EmbeddedServer):
    """One broker on `home/broker`. `with EmbeddedBroker(home, port) as broker: broker.url`, or under a supervisor."""

    name = "broker"
    log_name = "broker.log"
    start_timeout_s = 30
    stop_grace_s = 15  # sessions and queues are written
    unavailable = BrokerUnreachableError

    def __init__(self, home: Path, port: int) -> None:
        super().__init__(home)
        self.port = port
        self.folder = home / "broker"
        self.username = USERNAME

    @property
    def url(self) -> str:
        return f"mqtt://{HOST}:{self.port}"

    @property
    def password_file(self) -> Path:
        return secret_file(self.home, "broker_password")

    @property
    def password(self) -> str:
        return self.password_file.read_text(encoding="utf-8")

    @cached_property
    def kind(self) -> Literal["mosquitto", "amqtt"]:
        """What is installed.

        Raises:
            ConfigurationError: neither is.
        """
        if find_mosquitto():
            return "mosquitto"
        if find_spec("amqtt"):
            return "amqtt"
        raise ConfigurationError(
            "no embedded broker: install mosquitto (apt-get install mosquitto, brew install mosquitto), "
            "or the extra `pip install 'sensor-platform[amqtt]'` for a demo, or set MQTT_BROKER_URL"
        )

    @property
    def protocol(self) -> Literal["auto", "3.1.1"]:
        """amqtt never answers a CONNECT of MQTT 5."""
        return "auto" if self.kind == "mosquitto" else "3.1.1"

    @property
    def note(self) -> str | None:
        """What a person should know about the choice, in one line."""
        if self.kind == "mosquitto":
            return None
        return "the broker is amqtt: for a demo only, it keeps nothing over a restart. Install mosquitto for more"

    def command(self) -> process.Command:
        """Writes the configuration and gives the command to run."""
        private_folder(private_folder(self.home))
        private_folder(self.folder)
        return self._mosquitto() if self.kind == "mosquitto" else self._amqtt()

    def is_ready(self) -> bool:
        """Whether it listens; its stored sessions are loaded by then."""
        return answers(self.port)

    def _mosquitto(self) -> process.Command:
        template = Template(resources.files(__package__).joinpath("mosquitto.conf").read_text(encoding="utf-8"))
        passwords = self._password_hashes()
        configuration = self.folder / "mosquitto.conf"
        write_private(
            configuration,
            template.substitute(port=self.port, folder=self.folder, password_file=passwords),
        )
        program = find_mosquitto()
        assert program is not None
        return process.Command((program, "-c", str(configuration)))

    def _password_hashes(self) -> Path:
        """The file of names and hashed passwords; made anew each time, so that it follows the secret."""
        path, part = self.folder / "passwords", self.folder / "passwords.new"
        write_private(part, f"{self.username}:{self.password}\n")
        program = shutil.which("mosquitto_passwd", path=_SEARCH)
        # -U hashes a file in place: a password on the command line would be there for all to see.
        done = subprocess.run([str(program), "-U", str(part)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ConfigurationError(f"mosquitto_passwd -U {part} failed: {done.stderr.strip()}")
        part.chmod(0o600)
        part.replace(path)
        return path

    def _amqtt(self) -> process.Command:
        from pwdlib import PasswordHash  # type: ignore[import-not-found, unused-ignore]  # comes with amqtt
        from pwdlib.hashers.argon2 import Argon2Hasher  # type: ignore[import-not-found, unused-ignore]

        passwords, configuration = self.folder / "passwords", self.folder / "amqtt.yaml"
        write_private(passwords, f"{self.username}:{PasswordHash((Argon2Hasher(),)).hash(self.password)}\n")
        write_private(
            configuration,
            f"listeners: {{default: {{type: tcp, bind: '{HOST}:{self.port}'}}}}\n"
            "plugins:\n"
            "  amqtt.plugins.authentication.FileAuthPlugin:\n"
            f"    password_file: '{passwords}'\n",
        )
        run = "from amqtt.scripts.broker_script import main; main()"
        return process.Command((sys.executable, "-c", run, "-c", str(configuration)), stop_signal=signal.SIGINT)
