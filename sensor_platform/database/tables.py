"""Every table of ours, in the schema `sensor_platform`. Dagster's own stay in `public`.

`metric` has no unique key on purpose: two different values at one time are both real, and a unique (series, time) would
lose one of them in silence. What is equal is found by the load, under its lock, and kept aside in `metric_duplicate`.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA = "sensor_platform"

metadata = sa.MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    },
)

Timestamp = sa.TIMESTAMP(timezone=True)


class OneByte(sa.types.UserDefinedType[Any]):
    """PostgreSQL's "char": a letter, or, as `::integer`, a signed number of one byte."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return '"char"'


def _now(name: str, comment: str) -> sa.Column[datetime]:
    return sa.Column(name, Timestamp, nullable=False, server_default=sa.func.now(), comment=comment)


installation = sa.Table(
    "installation",
    metadata,
    sa.Column("only", sa.Boolean, primary_key=True, server_default=sa.true(), comment="one row"),
    sa.Column("first_hour", Timestamp, nullable=False, comment="first received hour; the hourly partitions start here"),
    sa.Column(
        "definition_changes",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="transactions that changed the table `definition`; a load looks for news here",
    ),
    sa.CheckConstraint('"only"', name="only"),
    comment="Facts kept once for this database",
)

work_unit = sa.Table(
    "work_unit",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("parent_id", sa.ForeignKey("work_unit.id"), comment="the place that holds this one"),
    sa.Column("level", sa.Text, comment="enterprise, site, area, line or cell, or a word of the plant's own"),
    sa.Column("description", sa.Text, comment="for people; editable"),
    comment="Places in the plant (enterprise / site / area / line / cell, ISA-95)",
)

sensor = sa.Table(
    "sensor",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("work_unit_id", sa.ForeignKey("work_unit.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, comment="for people; editable"),
    sa.Column(
        "first_seen_at",
        Timestamp,
        server_default=sa.func.now(),
        comment="when the first reading of it was registered; null: declared, and never seen",
    ),
    sa.Column("expected_interval_s", sa.Double, comment="seconds between two readings; null: nobody said; editable"),
    sa.Column("declared_at", Timestamp, comment="when a person first said something of it; null: only seen"),
    sa.UniqueConstraint("work_unit_id", "name"),
    comment="Sensors, registered on first sight; the identity is (work unit, name)",
)

series = sa.Table(
    "series",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("sensor_id", sa.ForeignKey("sensor.id"), nullable=False),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("unit", sa.Text, comment="of the values: that of the route, or the first one seen; others are converted"),
    sa.Column("unit_by", sa.Text, comment="the route or person who said so; null: the first reading that named one"),
    sa.Column(
        "units",
        sa.ARRAY(sa.Text),
        nullable=False,
        server_default="{}",
        comment="units that its readings named, in order of appearance; `source_unit` of a reading counts from 1",
    ),
    sa.Column(
        "unnamed_unit", sa.Text, comment="what readings are taken to be in that name no unit; they are converted"
    ),
    sa.Column("unnamed_by", sa.Text, comment="the route that said so; null: the first reading, or a person"),
    sa.Column("minimum", sa.Double, comment="readings below are refused (range, below_minimum); editable"),
    sa.Column("maximum", sa.Double, comment="readings above are refused (range, above_maximum); editable"),
    sa.Column(
        "conflicts",
        sa.Text,
        nullable=False,
        server_default="all",
        comment="which of several values at one time is shown",
    ),
    sa.UniqueConstraint("sensor_id", "metric"),
    sa.CheckConstraint("conflicts in ('all', 'first', 'last')", name="conflicts"),
    comment="One metric of one sensor",
)

unit_change = sa.Table(
    "unit_change",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("series", sa.Integer, nullable=False),
    _now("at", "when"),
    sa.Column("unit_before", sa.Text, nullable=False),
    sa.Column("unit", sa.Text, nullable=False),
    sa.Column("by", sa.Text, nullable=False, comment="the route or person"),
    comment="When the unit of a series changed and its stored values were converted. A load looks for news here",
)

registry_change = sa.Table(
    "registry_change",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column(
        "version",
        sa.BigInteger,
        nullable=False,
        index=True,
        comment="of the registry; what changes at once shares one",
    ),
    _now("at", "when"),
    sa.Column("by", sa.Text, nullable=False, comment="the person"),
    sa.Column("source", sa.Text, comment="the file that was imported; null: a command"),
    sa.Column("kind", sa.Text, nullable=False, comment="work_unit, sensor or series"),
    sa.Column("work_unit", sa.Text, nullable=False),
    sa.Column("sensor", sa.Text),
    sa.Column("metric", sa.Text),
    sa.Column("before", JSONB, nullable=False, comment="the fields that changed; empty: it was not there"),
    sa.Column("after", JSONB, nullable=False, comment="the same fields"),
    sa.CheckConstraint("kind in ('work_unit', 'sensor', 'series')", name="kind"),
    comment="What people changed in the registry, row by row. A load looks for news here",
)

calibration = sa.Table(
    "calibration",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("series", sa.Integer, nullable=False, index=True),
    sa.Column("valid_from", Timestamp, comment="event time; null: always before valid_to"),
    sa.Column("valid_to", Timestamp, comment="event time, exclusive; null: ever after valid_from"),
    sa.Column("scale", sa.Double, nullable=False, comment="value * scale + offset, in the unit of the series"),
    sa.Column("offset", sa.Double, nullable=False),
    sa.Column("from_version", sa.BigInteger, nullable=False, comment="of the registry, the first that has it"),
    sa.Column("to_version", sa.BigInteger, comment="the first that has it no more; null: in force"),
    comment="What becomes of values by their event time, now and in versions of the registry before",
)

high_water_mark = sa.Table(
    "high_water_mark",
    metadata,
    sa.Column("series", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("time", Timestamp, nullable=False),
    comment="Newest time ever loaded of each series: readings above it need no look for duplicates",
)


def _reading_columns() -> list[sa.Column[object]]:
    """40 bytes, of which alignment wastes none, and no NULL in a number's row: more than eight columns of which one is
    NULL make the header eight bytes longer."""
    return [
        sa.Column("time", Timestamp, nullable=False, comment="event time, UTC"),
        sa.Column("value", sa.Double, comment="null where the reading is text only"),
        sa.Column("sequence", sa.BigInteger, nullable=False, comment="of the message, with micro_batch its identity"),
        sa.Column("series", sa.Integer, nullable=False),
        sa.Column("micro_batch", sa.Integer, nullable=False, comment="ledger.id"),
        sa.Column("ordinal", sa.Integer, nullable=False, comment="place of the reading in its message"),
        sa.Column("quality", OneByte, nullable=False, comment="g good, u uncertain, b bad"),
        sa.Column("timed_by_receipt", sa.Boolean, nullable=False, comment="the payload had no time of its own"),
        sa.Column(
            "text",
            sa.Text,
            nullable=False,
            server_default="",
            comment="text readings, and the exact digits of integers past 2^53; '' beside a value: none",
        ),
        sa.Column(
            "source_unit",
            OneByte,
            nullable=False,
            server_default=sa.text("'\\000'::\"char\""),
            comment="the unit that was sent: its place in series.units; 0: none, -1: not noted",
        ),
    ]


metric = sa.Table(
    "metric",
    metadata,
    *_reading_columns(),
    # Times of a series mostly come in order: a page needs less room than the usual tenth, but without any each late
    # reading would split one.
    sa.Index(None, "series", "time", postgresql_with={"fillfactor": 95}),
    sa.Index(None, "micro_batch", postgresql_using="brin"),
    # For questions about all series, which the other index answers page by page.
    sa.Index(None, "time", postgresql_using="brin", postgresql_with={"autosummarize": "on"}),
    postgresql_partition_by="RANGE (time)",
    comment="Readings, one row each, partitioned by month of their event time",
)

metric_duplicate = sa.Table(
    "metric_duplicate",
    metadata,
    *_reading_columns(),
    sa.Index(None, "series", "time"),
    sa.Index(None, "micro_batch", "sequence"),
    comment="Readings equal to one in `metric`, kept aside: the next is promoted when that one goes",
)

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    # Collation C: received order must not depend on the language of the database.
    sa.Column("name", sa.Text(collation="C"), nullable=False, unique=True, comment="of the micro-batch"),
    sa.Column("hour", Timestamp, nullable=False, index=True, comment="received hour: where the file lies"),
    sa.Column("first_received_at", Timestamp, nullable=False, comment="with the name: its place in received order"),
    sa.Column("last_received_at", Timestamp, nullable=False),
    sa.Column("staged", sa.BigInteger, nullable=False, comment="messages"),
    sa.Column("accepted", sa.BigInteger, nullable=False, comment="messages: at least one reading stands, none refused"),
    sa.Column("partial", sa.BigInteger, nullable=False, comment="messages: some readings were refused"),
    sa.Column("dead_lettered", sa.BigInteger, nullable=False, comment="messages: nothing of it was taken"),
    sa.Column("duplicate", sa.BigInteger, nullable=False, comment="messages: redelivered, or all readings were there"),
    sa.Column("ignored", sa.BigInteger, nullable=False, comment="messages: a rule says so"),
    sa.Column("decoded", sa.BigInteger, nullable=False, comment="readings"),
    sa.Column("inserted", sa.BigInteger, nullable=False, comment="readings in `metric`"),
    sa.Column("duplicate_readings", sa.BigInteger, nullable=False, comment="readings in `metric_duplicate`"),
    sa.Column("refused", sa.BigInteger, nullable=False, comment="readings that became dead letters"),
    sa.Column(
        "thinned",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="readings that said nothing new (report by exception); not among `decoded`",
    ),
    sa.Column(
        "expired",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="of the readings inserted: those that retention has deleted, or that were too old to be kept",
    ),
    sa.Column("conflicts", sa.BigInteger, nullable=False, comment="inserted where another value stood at that time"),
    sa.Column("least_time", Timestamp, comment="least event time of its readings"),
    sa.Column("greatest_time", Timestamp, comment="greatest event time of its readings"),
    sa.Column("route_versions", JSONB, nullable=False, comment="route name -> version, filter and format that made it"),
    sa.Column("transformer_versions", JSONB, nullable=False, comment="format -> version that made it"),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="1", comment="how often it was processed"),
    sa.Column("run_id", sa.Text, index=True, comment="Dagster run of the last attempt"),
    _now("committed_at", "of the last attempt"),
    sa.Column("bytes_deleted_at", Timestamp, comment="when retention deleted its file; null: the bytes are kept"),
    sa.Column(
        "definitions_changed_at",
        Timestamp,
        comment="when it became known that a definition stands before it with which it was not decoded, or that a "
        "calibration of its readings is another by now",
    ),
    sa.Column(
        "registry_as_of",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="registry_change.version with which it was made",
    ),
    sa.Index(None, "committed_at"),
    # Each run asks which hours are outdated: nearly always none, of millions of rows.
    sa.Index("ledger_outdated_idx", "hour", postgresql_where=sa.text("definitions_changed_at IS NOT NULL")),
    sa.CheckConstraint("staged = accepted + partial + dead_lettered + duplicate + ignored", name="messages"),
    sa.CheckConstraint("decoded = inserted + duplicate_readings + refused", name="readings"),
    comment="One row a micro-batch: what became of each of its messages. Commits with the rows that it counts",
)

definition_content = sa.Table(
    "definition_content",
    metadata,
    sa.Column("digest", sa.LargeBinary, primary_key=True, comment="SHA-256 of the content in canonical form"),
    sa.Column("content", JSONB, nullable=False),
    comment="What messages say of later ones, each content once",
)

definition = sa.Table(
    "definition",
    metadata,
    sa.Column("format", sa.Text, primary_key=True),
    sa.Column("key", sa.Text(collation="C"), primary_key=True, comment="whom it concerns, in the words of the format"),
    # The key is received order: what is in force at a place is one step down its index.
    sa.Column(
        "first_received_at",
        Timestamp,
        primary_key=True,
        comment="of its micro-batch: with name and sequence the place in received order",
    ),
    sa.Column("name", sa.Text(collation="C"), primary_key=True, comment="of its micro-batch"),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False, comment="of the message that says it"),
    sa.Column("micro_batch", sa.ForeignKey("ledger.id"), nullable=False, index=True),
    sa.Column("content", sa.ForeignKey("definition_content.digest"), nullable=False),
    comment="Who says what of later messages: Sparkplug births, OPC UA metadata. Commits with the ledger row",
)

dead_letter_message = sa.Table(
    "dead_letter_message",
    metadata,
    sa.Column("micro_batch", sa.ForeignKey("ledger.id"), primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("received_at", Timestamp, nullable=False),
    sa.Column("topic", sa.LargeBinary, nullable=False, comment="bytes as received"),
    sa.Column("payload", sa.LargeBinary, nullable=False, comment="bytes as received"),
    sa.Column("qos", sa.SmallInteger, nullable=False),
    sa.Column("retain", sa.Boolean, nullable=False),
    sa.Column("content_type", sa.Text),
    sa.Column("user_properties", JSONB, comment="MQTT 5: pairs of name and value, in order"),
    sa.Column("made_by", JSONB, comment="versions and run of the last retry; null: those of the ledger row"),
    sa.Column(
        "thinned",
        sa.Integer,
        nullable=False,
        server_default="0",
        comment="of its readings, while a letter of it is open",
    ),
    sa.Column(
        "expired",
        sa.Integer,
        nullable=False,
        server_default="0",
        comment="of its readings, while a letter of it is open: those that retention has deleted",
    ),
    sa.Column("bytes_deleted_at", Timestamp, comment="when retention emptied the payload; null: the bytes are kept"),
    comment="The raw bytes of messages that have dead letters, once each",
)

dead_letter = sa.Table(
    "dead_letter",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True, comment="for `sensor-platform dead-letters`"),
    sa.Column("micro_batch", sa.Integer, nullable=False, comment="ledger.id"),
    sa.Column("sequence", sa.BigInteger, nullable=False, comment="of the message, in its micro-batch"),
    sa.Column(
        "ordinal",
        sa.Integer,
        nullable=False,
        comment="the refused reading's place; -1: the whole message; -2 and below: a metric that the contract requires "
        "and the message lacks",
    ),
    sa.Column(
        "state",
        sa.Text,
        nullable=False,
        server_default="pending",
        comment="pending, retrying, resolved (it became readings), exhausted (waits for a person) or discarded",
    ),
    sa.Column("stage", sa.Text, nullable=False, comment="route, decode, schema, range or time"),
    sa.Column("code", sa.Text, nullable=False, index=True, comment="why it was refused, as a stable word"),
    sa.Column("detail", sa.Text, nullable=False, comment="a sentence for a person"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0", comment="retries so far"),
    sa.Column("next_attempt_at", Timestamp, comment="null: not scheduled"),
    _now("created_at", "when it was first refused"),
    sa.Column("closed_at", Timestamp, comment="when it was resolved or discarded"),
    sa.Column("closed_by", sa.Text, comment="who or what resolved or discarded it"),
    sa.Column("closed_why", sa.Text, comment="the reason that was given"),
    sa.ForeignKeyConstraint(
        ["micro_batch", "sequence"], ["dead_letter_message.micro_batch", "dead_letter_message.sequence"]
    ),
    sa.UniqueConstraint("micro_batch", "sequence", "ordinal"),
    sa.CheckConstraint("state in ('pending', 'retrying', 'resolved', 'exhausted', 'discarded')", name="state"),
    sa.Index(None, "state", "next_attempt_at"),
    comment="Messages, or readings of them, that were refused",
)

rebirth_request = sa.Table(
    "rebirth_request",
    metadata,
    sa.Column("topic", sa.Text(collation="C"), primary_key=True, comment="where the node listens for commands"),
    sa.Column("asked_at", Timestamp, nullable=False, comment="the last time"),
    sa.Column("times", sa.BigInteger, nullable=False, server_default="1"),
    comment="Sparkplug nodes that were asked to be born again",
)

sparkplug_node = sa.Table(
    "sparkplug_node",
    metadata,
    sa.Column("topic", sa.Text(collation="C"), primary_key=True, comment="where the node listens for commands"),
    sa.Column("seq", sa.SmallInteger, nullable=False, comment="of the newest message, 0 to 255"),
    sa.Column("received_at", Timestamp, nullable=False, comment="of the newest message"),
    sa.Column("gaps", sa.BigInteger, nullable=False, server_default="0", comment="seen so far"),
    sa.Column(
        "gap_at", Timestamp, comment="receipt of the message before which others are missing; null: none since a birth"
    ),
    comment="Where the sequence of each Sparkplug node stands, in the order in which its messages were loaded",
)

compacted_file = sa.Table(
    "compacted_file",
    metadata,
    sa.Column("hour", Timestamp, primary_key=True, comment="received hour"),
    sa.Column("name", sa.Text(collation="C"), primary_key=True),
    _now("noted_at", "when"),
    comment="Compacted files of which the ledger has every micro-batch: who looks for pending ones need not open them",
)

retention = sa.Table(
    "retention",
    metadata,
    sa.Column("level", sa.Text, primary_key=True, comment="raw (readings and their duplicates), minute, hour, day"),
    sa.Column(
        "kept_from",
        Timestamp,
        comment="event times before it are deleted, are not loaded and are not rolled up; null: all is kept",
    ),
    _now("changed_at", "when"),
    sa.Column("moved_back_at", Timestamp, comment="when more was to be kept than before, the last time"),
    sa.CheckConstraint("level in ('raw', 'minute', 'hour', 'day')", name="level"),
    comment="From when on each level is kept; no row: from the beginning",
)

gone_day = sa.Table(
    "gone_day",
    metadata,
    sa.Column("level", sa.Text, primary_key=True, comment="as in `retention`"),
    sa.Column("day", Timestamp, primary_key=True, comment="its start, UTC, in event time"),
    _now("gone_at", "when"),
    sa.CheckConstraint("level in ('raw', 'minute', 'hour', 'day')", name="level"),
    comment="Days of which retention deleted rows, until they are whole again: rollups of those are not made anew",
)

sensor_clock = sa.Table(
    "sensor_clock",
    metadata,
    sa.Column("sensor", sa.ForeignKey("sensor.id"), primary_key=True, autoincrement=False),
    sa.Column("hour", Timestamp, nullable=False, comment="received hour that the next columns are of: the newest one"),
    sa.Column("readings", sa.BigInteger, nullable=False, comment="looked at: with a time of their own"),
    sa.Column(
        "least_delay_s", sa.Double, nullable=False, comment="receipt less event time; below 0: its clock is ahead"
    ),
    sa.Column("mean_delay_s", sa.Double, nullable=False),
    sa.Column("noted_at", Timestamp, nullable=False, comment="receipt of the newest message looked at"),
    comment="How late the readings of each sensor come, of the newest hour: how wrong its clock is",
)

changed_bucket = sa.Table(
    "changed_bucket",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("level", sa.Text, nullable=False, comment="the rollup to recompute: minute, hour or day"),
    sa.Column("series", sa.Integer, nullable=False),
    sa.Column("bucket", Timestamp, nullable=False),
    _now("marked_at", "when"),
    sa.Index(None, "level", "bucket"),
    comment="Rollup buckets whose values changed. Append-only and not unique: a load never waits for a rollup run",
)


def _figures() -> list[sa.Column[Any]]:
    """Of the readings that count: numbers but NaN, not of bad quality. Null: there is none, or none was noted."""
    return [
        sa.Column("min", sa.Double, comment="least value, in the unit of the series"),
        sa.Column("max", sa.Double, comment="greatest value, in the unit of the series"),
        sa.Column("sum", sa.Double, comment="of the values, in the unit of the series"),
        sa.Column(
            "mean",
            sa.Double,
            sa.Computed("sum / count", persisted=True),
            comment="of the values, each weighed the same, in the unit of the series",
        ),
        sa.Column("m2", sa.Double, comment="sum of squares about the mean; null where a value is beyond 1e140"),
        sa.Column("first", sa.Double, comment="value at the least time; of several the one received first"),
        sa.Column("first_time", Timestamp, comment="event time of `first`, UTC"),
        sa.Column("last", sa.Double, comment="value at the greatest time; of several the one received last"),
        sa.Column("last_time", Timestamp, comment="event time of `last`, UTC"),
        sa.Column(
            "area", sa.Double, comment="value times seconds from first_time to last_time: each holds until the next"
        ),
    ]


def _rollup(name: str, comment: str, partition_by: str | None = None) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column(
            "series",
            sa.Integer,
            primary_key=True,
            autoincrement=False,
            comment="series.id: a metric of a sensor, and its unit",
        ),
        sa.Column("bucket", Timestamp, primary_key=True, comment="start, UTC"),
        sa.Column("readings", sa.BigInteger, comment="numbers of any quality, NaN too"),
        sa.Column("good", sa.BigInteger, comment="of these: of good quality, and not NaN"),
        sa.Column("count", sa.BigInteger, nullable=False, comment="those that the next columns are of"),
        *_figures(),
        sa.Index(None, "bucket"),
        comment=comment,
        postgresql_partition_by=partition_by,
    )


metrics_minute = _rollup(
    "metrics_minute",
    "Figures of each series a minute, partitioned by month; see the view `rollup_minute`",
    partition_by="RANGE (bucket)",
)
metrics_hourly = _rollup(
    "metrics_hourly",
    "The same an hour, from metrics_minute, partitioned by month; see `rollup_hour`",
    partition_by="RANGE (bucket)",
)
metrics_daily = _rollup("metrics_daily", "The same a day, from metrics_hourly; see `rollup_day`")

collector_control = sa.Table(
    "collector_control",
    metadata,
    sa.Column("only", sa.Boolean, primary_key=True, server_default=sa.true(), comment="one row"),
    sa.Column("sensor_on", sa.Boolean, nullable=False, server_default=sa.true(), comment="mqtt_sensor's switch"),
    sa.Column("api_on", sa.Boolean, nullable=False, server_default=sa.true(), comment="start and stop of the API"),
    _now("changed_at", "when a wish last changed"),
    sa.Column("changed_by", sa.Text),
    sa.CheckConstraint('"only"', name="only"),
    comment="The standing wish: collectors collect when both are on",
)

collector_heartbeat = sa.Table(
    "collector_heartbeat",
    metadata,
    sa.Column("collector", sa.Text, primary_key=True, comment="the first part of its files' names"),
    sa.Column("incarnation", sa.Text, nullable=False),
    sa.Column("client_id", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("beat_at", Timestamp, nullable=False),
    sa.Column("state", sa.Text, nullable=False, comment="connecting, collecting, draining, waiting, stopped"),
    sa.Column("connected", sa.Boolean, nullable=False),
    sa.Column("since", Timestamp, nullable=False, comment="of this state"),
    sa.Column("last_packet_at", Timestamp),
    sa.Column("last_commit_at", Timestamp, comment="last fsync of a group"),
    sa.Column("messages", sa.BigInteger, nullable=False, comment="staged by this process"),
    sa.Column("payload_bytes", sa.BigInteger, nullable=False),
    sa.Column("redelivered", sa.BigInteger, nullable=False),
    sa.Column("qos0", sa.BigInteger, nullable=False, comment="messages without a promise"),
    sa.Column("open_messages", sa.BigInteger, nullable=False, comment="in the open micro-batch"),
    sa.Column("connections", sa.BigInteger, nullable=False, comment="made by this process"),
    sa.Column("error", sa.Text, comment="what stands in the way now, in one line"),
    sa.Column(
        "upload_waiting",
        sa.BigInteger,
        nullable=False,
        server_default="0",
        comment="sealed micro-batches on its disk that wait for the object store",
    ),
    sa.Column("upload_waiting_since", Timestamp, comment="when the oldest of those was sealed"),
    sa.Column("upload_error", sa.Text, comment="why uploads fail now, in one line"),
    sa.Column("error_kind", sa.Text, comment="the same as a stable word"),
    sa.Column("broker", JSONB, comment="what it granted at the last CONNACK, and what $SYS shows"),
    sa.Column(
        "warnings",
        JSONB,
        nullable=False,
        server_default="[]",
        comment="kind and detail of what would lose messages: at the broker, or by a setting",
    ),
    comment="What each collector says of itself",
)

subscription = sa.Table(
    "subscription",
    metadata,
    sa.Column("filter", sa.Text(collation="C"), primary_key=True, comment="an MQTT topic filter"),
    _now("added_at", "when it was added"),
    sa.Column("added_by", sa.Text, nullable=False),
    comment="Topic filters added while running; those of the routes stand in the route file",
)

collector_subscription = sa.Table(
    "collector_subscription",
    metadata,
    sa.Column("collector", sa.Text, primary_key=True),
    sa.Column(
        "filter", sa.Text(collation="C"), primary_key=True, comment="as told to the broker, $share/GROUP/ included"
    ),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, comment="what the broker said"),
    sa.CheckConstraint("state in ('pending', 'granted', 'refused')", name="state"),
    comment="What each collector asked its broker for, and the answer",
)

collector_connection = sa.Table(
    "collector_connection",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True, comment="in the order of events"),
    sa.Column("collector", sa.Text, nullable=False),
    sa.Column("at", Timestamp, nullable=False),
    sa.Column("event", sa.Text, nullable=False, comment="connected, failed (no connection was made), lost, closed"),
    sa.Column("kind", sa.Text, comment="why, as a stable word"),
    sa.Column("reason", sa.Text, comment="why, in one line"),
    sa.Column("broker", sa.Text, nullable=False, comment="host and port"),
    sa.Column("protocol", sa.Text, nullable=False, comment="MQTT version"),
    sa.Column("session_present", sa.Boolean, comment="when connected: whether the broker had kept the session"),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.UniqueConstraint("collector", "pid", "at"),
    sa.CheckConstraint("event in ('connected', 'failed', 'lost', 'closed')", name="event"),
    comment="When each collector's connection came and went, and why; the newest thousand of each",
)

health = sa.Table(
    "health",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("at", Timestamp, nullable=False, index=True),
    sa.Column("figure", sa.Text, nullable=False, comment="message_rate, error_rate_percent, dead_letters_pending, ..."),
    sa.Column("subject", sa.Text, nullable=False, server_default="platform"),
    sa.Column("value", sa.Double),
    comment="Health figures over time",
)

alert = sa.Table(
    "alert",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("rule", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("threshold", sa.Double),
    sa.Column("detail", sa.Text, nullable=False),
    _now("pending_since", "when the condition was first seen"),
    sa.Column("fired_at", Timestamp),
    sa.Column("resolved_at", Timestamp),
    sa.CheckConstraint("state in ('pending', 'firing', 'acknowledged', 'resolved')", name="state"),
    sa.Index("alert_open_key", "rule", "subject", unique=True, postgresql_where=sa.text("state <> 'resolved'")),
    comment="The state of one rule for one subject; a new row each time it comes back",
)

alert_outbox = sa.Table(
    "alert_outbox",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
    sa.Column("alert_id", sa.ForeignKey("alert.id"), nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("transition", sa.Text, nullable=False, comment="firing or resolved"),
    _now("written_at", "with the change of state, in one transaction"),
    sa.Column("delivered_at", Timestamp),
    sa.UniqueConstraint("alert_id", "channel", "transition"),
    comment="What channels are still to be told: written first, delivered from here",
)
