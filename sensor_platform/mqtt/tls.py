"""TLS: what we ask of a broker's certificate, and why a handshake fails, told apart.

At least version 1.2; certificates are always verified, host names unless a setting says so loudly.
"""

import ssl
from typing import Final

from typing_extensions import Buffer

from sensor_platform.errors import ConfigurationError, TlsReason, TlsRefusedError
from sensor_platform.settings import MqttSettings

#: X509_V_ERR_* [openssl/x509_vfy.h] of a certificate that we refuse.
_OF_VERIFICATION: Final[dict[int, TlsReason]] = {
    9: "not_yet_valid",
    10: "expired",
    2: "unknown_ca",
    18: "unknown_ca",
    19: "unknown_ca",
    20: "unknown_ca",
    21: "unknown_ca",
    62: "wrong_host",
    64: "wrong_host",
}

#: OpenSSL's names of what the other side says, and of what it sends instead of TLS.
_OF_HANDSHAKE: Final[dict[str, TlsReason]] = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "client_certificate_required",
    "TLSV1_ALERT_UNKNOWN_CA": "client_certificate_refused",
    "SSLV3_ALERT_BAD_CERTIFICATE": "client_certificate_refused",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "client_certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "client_certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "client_certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "client_certificate_refused",
    "TLSV1_ALERT_ACCESS_DENIED": "client_certificate_refused",
    "TLSV1_ALERT_PROTOCOL_VERSION": "version",
    "UNSUPPORTED_PROTOCOL": "version",
    "WRONG_VERSION_NUMBER": "not_tls",
    "HTTP_REQUEST": "not_tls",
    "PACKET_LENGTH_TOO_LONG": "not_tls",
}

_SENTENCES: Final[dict[TlsReason, str]] = {
    "expired": "its certificate has expired. Renew it at the broker, and check the clock here.",
    "not_yet_valid": "its certificate is not valid yet. Check the clock here and the certificate.",
    "wrong_host": "its certificate is for another host name. Call it in MQTT_BROKER_URL what its certificate does.",
    "unknown_ca": "nobody whom we trust vouches for its certificate. Name the file of its CA in MQTT_TLS_CA.",
    "client_certificate_required": "it asks for a client certificate. Set MQTT_TLS_CERT and MQTT_TLS_KEY.",
    "client_certificate_refused": "it refuses our client certificate. Check MQTT_TLS_CERT and whom the broker trusts.",
    "version": "it speaks no version of TLS that is safe; we speak 1.2 and 1.3. Update the broker.",
    "not_tls": "that port does not speak TLS. Use the broker's TLS port, or mqtt:// or ws:// in MQTT_BROKER_URL.",
    "handshake": "the handshake failed. Does the broker ask for a client certificate, or other ciphers?",
}


class _Socket(ssl.SSLSocket):
    """TLS 1.3 tells a client why it is refused after the handshake: when a write fails, the reason waits to be read."""

    def do_handshake(self, block: bool = False) -> None:
        """paho leaves a socket open whose handshake fails."""
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise

    def send(self, data: Buffer, flags: int = 0) -> int:
        try:
            return super().send(data, flags)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as err:
            raise self._last_words() or err from None

    def _last_words(self) -> ssl.SSLError | None:
        try:
            self.recv(1)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError):
            return None
        except ssl.SSLError as said:
            return said
        except OSError:
            return None
        return None


def tls_context(settings: MqttSettings) -> ssl.SSLContext:
    """TLS as the settings say. Raises ConfigurationError for files that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=str(settings.tls_ca) if settings.tls_ca else None)
    except (OSError, ssl.SSLError) as err:
        raise ConfigurationError(f"MQTT_TLS_CA={settings.tls_ca}: cannot be read as certificates: {err}") from err
    context.sslsocket_class = _Socket
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = settings.tls_check_hostname
    if settings.tls_cert is None:
        if settings.tls_key is not None:
            raise ConfigurationError(f"MQTT_TLS_KEY={settings.tls_key}: a key needs its certificate, MQTT_TLS_CERT")
        return context
    try:
        # Without a password OpenSSL would ask at the terminal for that of an encrypted key, and wait.
        password = settings.tls_key_password.get_secret_value() if settings.tls_key_password else ""
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password)
    except (OSError, ssl.SSLError) as err:
        raise ConfigurationError(
            f"MQTT_TLS_CERT={settings.tls_cert}, MQTT_TLS_KEY={settings.tls_key}: not a certificate and its key: {err}"
        ) from err
    return context


def tls_error(err: ssl.SSLError, broker: str) -> TlsRefusedError:
    """Why TLS failed, in our words and OpenSSL's."""
    said = getattr(err, "verify_message", None) or err.reason or str(err)
    reason = _OF_VERIFICATION.get(getattr(err, "verify_code", 0)) or _OF_HANDSHAKE.get(err.reason or "", "handshake")
    return TlsRefusedError(f"broker {broker}: TLS: {_SENTENCES[reason]} ({said.rstrip('.')})", reason=reason)
