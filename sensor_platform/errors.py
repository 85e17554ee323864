"""The one error tree, and the one table of dead-letter codes.

Whether a thing may be tried again is a property of its class, and so is the exit code of a command that ends with it.
Facts are attributes; prose is in `str()`: what, where, what to do.
"""

from datetime import datetime
from typing import ClassVar, Literal, get_args

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIGURATION = 78


class SensorPlatformError(Exception):
    """Root of every error that the platform raises on purpose."""

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = EXIT_FAILED
    #: A stable word beside the sentence, for programs: those that stop a collector are the keys of TROUBLES.
    kind: ClassVar[str] = "failed"


class ConfigurationError(SensorPlatformError):
    """A setting or a route file that cannot be used; one line says which, where and what is accepted."""

    exit_code = EXIT_CONFIGURATION


class FormatSourceError(ConfigurationError):
    """A module or folder that cannot be imported. module: the one of the route file, if it is one."""

    def __init__(self, problem: str, *, module: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.module = module


class StagingError(SensorPlatformError):
    """The staging area could not be read or written."""


class DamagedMicroBatchError(StagingError):
    """A sealed micro-batch whose bytes are not those that were written."""


class MissingMicroBatchError(StagingError):
    """There is no micro-batch of that name and hour."""


class BytesDeletedError(StagingError):
    """Retention has deleted the file of a micro-batch: what was made of it stays, the bytes cannot be had again."""

    def __init__(self, micro_batch: str, *, at: datetime) -> None:
        self.micro_batch = micro_batch
        self.at = at
        super().__init__(
            f"{micro_batch}: its bytes were deleted on {at:%Y-%m-%d at %H:%M} UTC by retention. Its readings stay as "
            "they are; STAGING_RETENTION_DAYS says how long bytes are kept."
        )


class ObjectStoreError(StagingError):
    """The object store of the staging area does not answer, or refuses us: sealed micro-batches wait on the disk."""

    retryable = True


class StagingUnavailableError(StagingError):
    """Messages cannot be staged just now (disk full, failed fsync): they stay with the broker."""

    retryable = True
    kind = "staging_unavailable"


class CollectorBusyError(StagingError):
    """Another collector holds the lock of this staging folder."""


class DagsterUnavailableError(SensorPlatformError):
    """The Dagster webserver does not answer, or does not do as it was asked."""

    retryable = True


class BrokerError(SensorPlatformError):
    """Anything the broker refused or failed to do."""

    retryable = True
    kind = "refused"


class BrokerUnreachableError(BrokerError):
    """No connection: nobody listens, no route, a time-out."""

    kind = "unreachable"


TlsReason = Literal[
    "expired",
    "not_yet_valid",
    "wrong_host",
    "unknown_ca",
    "client_certificate_required",
    "client_certificate_refused",
    "version",
    "not_tls",
    "handshake",
]


class TlsRefusedError(BrokerError):
    """The TLS handshake failed; `reason` says at what."""

    kind = "tls_refused"

    def __init__(self, message: str, *, reason: TlsReason = "handshake") -> None:
        super().__init__(message)
        self.reason = reason


class CredentialsRefusedError(BrokerError):
    """CONNACK says bad user name or password, or not authorised."""

    kind = "credentials_refused"


class SubscriptionRefusedError(BrokerError):
    """SUBACK says no for at least one filter."""

    kind = "subscription_refused"


class InvalidSubscriptionError(SensorPlatformError):
    """A topic filter that cannot be added or removed; nothing of its batch was."""


class ClientIdTakenError(BrokerError):
    """Another client connected with our client id."""

    kind = "client_id_taken"


class BrokerBusyError(BrokerError):
    """The broker takes no more for now: quota exceeded, connection rate exceeded, server busy."""

    kind = "quota_exceeded"


class NoMatchingSubscribersError(BrokerError):
    """The broker has no subscriber for the topic: nothing would have kept the message [MQTT5 PUBACK 0x10]."""

    retryable = False


class MessageRefusedError(BrokerError):
    """The broker, or its version of MQTT, does not take this message: not authorised, too large, no properties."""

    retryable = False


class QuotaExceededError(MessageRefusedError):
    """The broker takes no more just now."""

    retryable = True


class InvalidMessageError(SensorPlatformError, ValueError):
    """A topic, property or payload that MQTT cannot carry."""

    exit_code = EXIT_USAGE


class OfflineQueueError(SensorPlatformError):
    """The queue of unsent messages cannot be read or written."""


class OfflineQueueFullError(OfflineQueueError):
    """The bound of the queue is reached: the message is not in it."""

    retryable = True


class OfflineQueueBusyError(OfflineQueueError):
    """Another process is sending what stands in this queue."""


class DatabaseUnavailableError(SensorPlatformError):
    """PostgreSQL does not answer."""

    retryable = True


class TablesBusyError(SensorPlatformError):
    """Tables are to be changed, and somebody has them: nothing was changed."""

    retryable = True


class DefinitionsUnavailableError(SensorPlatformError):
    """What earlier messages said about later ones cannot be looked up: without it nothing is decoded or refused."""

    retryable = True


class WorkerUnavailableError(SensorPlatformError):
    """The process for transformers of your own cannot be started: no fault of the messages, which keep waiting."""

    retryable = True


class AccountingError(SensorPlatformError):
    """The counts of a micro-batch do not add up: nothing of it is committed."""


class RegistryChangedError(SensorPlatformError):
    """What is known of a series changed between preparing a load and loading it: it is prepared again."""

    retryable = True


class DefinitionsChangedError(SensorPlatformError):
    """A definition changed between decoding messages with it and loading them: they are prepared again."""

    retryable = True


#: What can stand in a collector's way: exit code of `collect --once-connected-or-fail`, and what it means to a person.
TROUBLES: dict[str, tuple[int, str]] = {
    "unreachable": (80, "no connection: nobody listens, no route, a time-out, the broker shuts down"),
    "tls_refused": (81, "TLS failed: certificate expired, of another host or unknown; client certificate; version"),
    "credentials_refused": (82, "the broker refuses user name, password or client"),
    "subscription_refused": (83, "SUBACK says no to a filter: not authorised, or not possible there"),
    "client_id_taken": (84, "another client uses the same client id"),
    "quota_exceeded": (85, "the broker is busy, or a quota of ours is used up"),
    "protocol_refused": (86, "the broker does not speak the version of MQTT that is asked for"),
    "refused": (87, "the broker ended the connection for another reason, which the sentence names"),
    "staging_unavailable": (88, "messages cannot be staged: disk full, failed fsync"),
}

Stage = Literal["route", "decode", "schema", "range", "time"]
STAGES: tuple[Stage, ...] = get_args(Stage)

#: Every dead-letter code: its stage, and what it means to a person.
DEAD_LETTER_CODES: dict[str, tuple[Stage, str]] = {
    "no_route": ("route", "no route's filter matches the topic"),
    "invalid_topic": ("route", "the topic is not valid UTF-8, or has characters that PostgreSQL cannot store"),
    "payload_too_large": ("decode", "the payload is larger than MQTT_MAX_PAYLOAD_BYTES"),
    "empty_payload": ("decode", "the payload has no bytes"),
    "invalid_encoding": ("decode", "the payload is not valid UTF-8 (JSON: nor UTF-16, nor UTF-32)"),
    "invalid_json": ("decode", "the payload is not valid JSON"),
    "invalid_cbor": ("decode", "the payload is not one item of CBOR"),
    "invalid_msgpack": ("decode", "the payload is not one item of MessagePack"),
    "invalid_line": ("decode", "a line of the payload is not line protocol"),
    "invalid_senml": ("decode", "the payload is not a SenML pack, or of a version that is not known"),
    "invalid_compression": ("decode", "the payload is not compressed as the route says"),
    "invalid_csv": ("decode", "the payload is not CSV with a header and rows of the same width"),
    "invalid_armour": ("decode", "the payload is not the hexadecimal or base64 text that the route says"),
    "invalid_length": ("decode", "the payload does not have the length that the route declares"),
    "invalid_frame": ("decode", "the payload is not a frame of the protocol that the route names"),
    "checksum_mismatch": ("decode", "the checksum in the payload is not that of its bytes"),
    "invalid_network_message": ("decode", "the payload is not a network message of OPC UA PubSub, or cut short"),
    "secured_message": ("decode", "the network message is signed or encrypted: it is not read"),
    "chunked_message": ("decode", "the network message is a chunk of a larger one: it is not read"),
    "unknown_metadata": ("decode", "nothing says yet which fields the message has"),
    "unsupported_type": ("decode", "a field is of a type that is not read"),
    "modbus_exception": ("decode", "the device answered with an exception"),
    "invalid_sparkplug": (
        "decode",
        "the payload or the topic is not of Sparkplug B, or a value is not of its datatype",
    ),
    "no_birth": ("decode", "the metric has only an alias, and no birth of its node or device stands before it"),
    "unknown_alias": ("decode", "the birth in force does not define the alias"),
    "unsupported_datatype": (
        "decode",
        "the value is neither one number nor one text: a data set, template, array, bytes",
    ),
    "too_deep": ("decode", "the payload is nested deeper than the limit"),
    "text_not_storable": ("decode", "a string holds U+0000 or a lone surrogate, which PostgreSQL cannot store"),
    "not_an_object": ("decode", "the payload is neither an object nor an array of objects"),
    "no_readings": ("decode", "the message yields no reading"),
    "missing_value": ("decode", "the value is null"),
    "value_not_number": ("decode", "the value is not a number, a boolean or a string that reads as a number"),
    "nan_not_allowed": ("decode", "the value is NaN or infinite and the route does not say allow_nan"),
    "number_out_of_range": ("decode", "the number does not fit in 64 bits"),
    "invalid_timestamp": ("decode", "the time field is not a time"),
    "invalid_quality": ("decode", "the quality is not one of good, uncertain, bad"),
    "invalid_metric": ("decode", "the metric's name is not a string of 1 to 500 characters"),
    "too_many_metrics": ("decode", "one object holds more metrics than the limit"),
    "names_too_long": ("decode", "the metrics' names of one message are longer, together, than the limit"),
    "transformer_failed": ("decode", "the transformer raised an error"),
    "transformer_timeout": ("decode", "the transformer took longer than its limit and was killed"),
    "transformer_out_of_memory": ("decode", "the transformer needed more memory than its limit and was killed"),
    "transformer_crashed": ("decode", "the transformer ended the process that it ran in"),
    "invalid_reading": ("schema", "a field of the reading is missing or of the wrong type"),
    "unknown_unit": ("schema", "the unit is not the one of the route or series, and one of the two is not known"),
    "incompatible_unit": ("schema", "the unit, or the value, does not convert to the unit of the route or series"),
    "contract_name": ("schema", "the sensor or the work unit is not of the pattern in the route's contract"),
    "contract_metric": ("schema", "the route's contract has no such metric, and refuses others"),
    "contract_missing": ("schema", "the message lacks a metric that the route's contract requires"),
    "contract_type": ("schema", "the value is not of the type in the route's contract"),
    "refused_by_database": ("schema", "PostgreSQL refused the row"),
    "below_minimum": ("range", "the value is below the sensor's own limit, or its route's contract"),
    "above_maximum": ("range", "the value is above the sensor's own limit, or its route's contract"),
    "contract_value": ("range", "the value is none of those in the route's contract"),
    "contract_rate": ("range", "the value changed faster than the route's contract allows"),
    "before_valid_time": ("time", "the time is before 2001-01-01: an unset clock"),
    "in_the_future": ("time", "the time is more than five minutes after the message was received"),
}
