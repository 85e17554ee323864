"""The first tables: places and series, readings, ledger, dead letters, rollups, collector, health and alerts."""

from importlib.resources import files

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "sensor_platform"
TIMESTAMP = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Makes every table, and the view `reading`."""
    _places()
    _readings()
    _ledger()
    _watch()
    op.execute(files("sensor_platform.database.migrations").joinpath("sql/0001_reading.sql").read_text("utf-8"))


def _places() -> None:
    """Where values come from: installation, places, sensors, series."""
    op.create_table(
        "installation",
        sa.Column("only", sa.Boolean(), server_default=sa.text("true"), nullable=False, comment="one row"),
        sa.Column(
            "first_hour", TIMESTAMP, nullable=False, comment="first received hour; the hourly partitions start here"
        ),
        sa.CheckConstraint('"only"', name=op.f("installation_only_check")),
        sa.PrimaryKeyConstraint("only", name="installation_pkey"),
        schema=SCHEMA,
        comment="Facts kept once for this database",
    )
    op.create_table(
        "work_unit",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Integer(), comment="the place that holds this one"),
        sa.ForeignKeyConstraint(["parent_id"], ["sensor_platform.work_unit.id"], name="work_unit_parent_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="work_unit_pkey"),
        sa.UniqueConstraint("name", name="work_unit_name_key"),
        schema=SCHEMA,
        comment="Places in the plant (enterprise / site / area / line / cell, ISA-95)",
    )
    op.create_table(
        "sensor",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("work_unit_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), comment="for people; editable"),
        sa.Column(
            "first_seen_at",
            TIMESTAMP,
            server_default=sa.text("now()"),
            nullable=False,
            comment="when the first reading of it was registered",
        ),
        sa.ForeignKeyConstraint(["work_unit_id"], ["sensor_platform.work_unit.id"], name="sensor_work_unit_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="sensor_pkey"),
        sa.UniqueConstraint("work_unit_id", "name", name="sensor_work_unit_id_name_key"),
        schema=SCHEMA,
        comment="Sensors, registered on first sight; the identity is (work unit, name)",
    )
    op.create_table(
        "series",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("sensor_id", sa.Integer(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), comment="the first one seen; readings that name another are refused"),
        sa.Column("minimum", sa.Double(), comment="readings below are refused (range, below_minimum); editable"),
        sa.Column("maximum", sa.Double(), comment="readings above are refused (range, above_maximum); editable"),
        sa.Column(
            "conflicts",
            sa.Text(),
            server_default="all",
            nullable=False,
            comment="which of several values at one time is shown",
        ),
        sa.CheckConstraint("conflicts in ('all', 'first', 'last')", name=op.f("series_conflicts_check")),
        sa.ForeignKeyConstraint(["sensor_id"], ["sensor_platform.sensor.id"], name="series_sensor_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="series_pkey"),
        sa.UniqueConstraint("sensor_id", "metric", name="series_sensor_id_metric_key"),
        schema=SCHEMA,
        comment="One metric of one sensor",
    )


def _readings() -> None:
    """The metric tables and what the load keeps beside them."""
    op.create_table(
        "metric",
        sa.Column("time", TIMESTAMP, nullable=False, comment="event time, UTC"),
        sa.Column("value", sa.Double(), comment="null where the reading is text only"),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="of the message, with micro_batch its identity"),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("micro_batch", sa.Integer(), nullable=False, comment="ledger.id"),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="place of the reading in its message"),
        sa.Column("quality", sa.SmallInteger(), nullable=False, comment="0 good, 1 uncertain, 2 bad"),
        sa.Column("timed_by_receipt", sa.Boolean(), nullable=False, comment="the payload had no time of its own"),
        sa.Column("text", sa.Text(), comment="text readings, and the exact digits of integers past 2^53"),
        schema=SCHEMA,
        comment="Readings, one row each, partitioned by month of their event time",
        postgresql_partition_by="RANGE (time)",
    )
    op.create_index("metric_micro_batch_idx", "metric", ["micro_batch"], schema=SCHEMA, postgresql_using="brin")
    op.create_index("metric_series_time_idx", "metric", ["series", "time"], schema=SCHEMA)
    op.create_table(
        "metric_duplicate",
        sa.Column("time", TIMESTAMP, nullable=False, comment="event time, UTC"),
        sa.Column("value", sa.Double(), comment="null where the reading is text only"),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="of the message, with micro_batch its identity"),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("micro_batch", sa.Integer(), nullable=False, comment="ledger.id"),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="place of the reading in its message"),
        sa.Column("quality", sa.SmallInteger(), nullable=False, comment="0 good, 1 uncertain, 2 bad"),
        sa.Column("timed_by_receipt", sa.Boolean(), nullable=False, comment="the payload had no time of its own"),
        sa.Column("text", sa.Text(), comment="text readings, and the exact digits of integers past 2^53"),
        schema=SCHEMA,
        comment="Readings equal to one in `metric`, kept aside: the next is promoted when that one goes",
    )
    op.create_index(
        "metric_duplicate_micro_batch_sequence_idx", "metric_duplicate", ["micro_batch", "sequence"], schema=SCHEMA
    )
    op.create_index("metric_duplicate_series_time_idx", "metric_duplicate", ["series", "time"], schema=SCHEMA)
    op.create_table(
        "high_water_mark",
        sa.Column("series", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("time", TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("series", name="high_water_mark_pkey"),
        schema=SCHEMA,
        comment="Newest time ever loaded of each series: readings above it need no look for duplicates",
    )
    op.create_table(
        "changed_bucket",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False, comment="the rollup to recompute: minute, hour or day"),
        sa.Column("series", sa.Integer(), nullable=False),
        sa.Column("bucket", TIMESTAMP, nullable=False),
        sa.Column("marked_at", TIMESTAMP, server_default=sa.text("now()"), nullable=False, comment="when"),
        sa.PrimaryKeyConstraint("id", name="changed_bucket_pkey"),
        schema=SCHEMA,
        comment="Rollup buckets whose values changed. Append-only and not unique: a load never waits for a rollup run",
    )
    op.create_index("changed_bucket_level_bucket_idx", "changed_bucket", ["level", "bucket"], schema=SCHEMA)
    op.create_table(
        "metrics_minute",
        sa.Column("series", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bucket", TIMESTAMP, nullable=False, comment="start, UTC"),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("min", sa.Double(), nullable=False),
        sa.Column("max", sa.Double(), nullable=False),
        sa.Column("sum", sa.Double(), nullable=False),
        sa.Column("mean", sa.Double(), sa.Computed("sum / count", persisted=True)),
        sa.PrimaryKeyConstraint("series", "bucket", name="metrics_minute_pkey"),
        schema=SCHEMA,
        comment="Readings a minute, of good and uncertain quality",
    )
    op.create_index("metrics_minute_bucket_idx", "metrics_minute", ["bucket"], schema=SCHEMA)
    op.create_table(
        "metrics_hourly",
        sa.Column("series", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bucket", TIMESTAMP, nullable=False, comment="start, UTC"),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("min", sa.Double(), nullable=False),
        sa.Column("max", sa.Double(), nullable=False),
        sa.Column("sum", sa.Double(), nullable=False),
        sa.Column("mean", sa.Double(), sa.Computed("sum / count", persisted=True)),
        sa.PrimaryKeyConstraint("series", "bucket", name="metrics_hourly_pkey"),
        schema=SCHEMA,
        comment="Readings an hour, from metrics_minute",
    )
    op.create_index("metrics_hourly_bucket_idx", "metrics_hourly", ["bucket"], schema=SCHEMA)
    op.create_table(
        "metrics_daily",
        sa.Column("series", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bucket", TIMESTAMP, nullable=False, comment="start, UTC"),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("min", sa.Double(), nullable=False),
        sa.Column("max", sa.Double(), nullable=False),
        sa.Column("sum", sa.Double(), nullable=False),
        sa.Column("mean", sa.Double(), sa.Computed("sum / count", persisted=True)),
        sa.PrimaryKeyConstraint("series", "bucket", name="metrics_daily_pkey"),
        schema=SCHEMA,
        comment="Readings a day, from metrics_hourly",
    )
    op.create_index("metrics_daily_bucket_idx", "metrics_daily", ["bucket"], schema=SCHEMA)


def _ledger() -> None:
    """What became of each message."""
    op.create_table(
        "ledger",
        sa.Column("id", sa.Integer(), sa.Identity(), nullable=False),
        sa.Column("name", sa.Text(collation="C"), nullable=False, comment="of the micro-batch"),
        sa.Column("hour", TIMESTAMP, nullable=False, comment="received hour: where the file lies"),
        sa.Column("first_received_at", TIMESTAMP, nullable=False, comment="with the name: its place in received order"),
        sa.Column("last_received_at", TIMESTAMP, nullable=False),
        sa.Column("staged", sa.BigInteger(), nullable=False, comment="messages"),
        sa.Column(
            "accepted", sa.BigInteger(), nullable=False, comment="messages: at least one reading stands, none refused"
        ),
        sa.Column("partial", sa.BigInteger(), nullable=False, comment="messages: some readings were refused"),
        sa.Column("dead_lettered", sa.BigInteger(), nullable=False, comment="messages: nothing of it was taken"),
        sa.Column(
            "duplicate", sa.BigInteger(), nullable=False, comment="messages: redelivered, or all readings were there"
        ),
        sa.Column("ignored", sa.BigInteger(), nullable=False, comment="messages: a rule says so"),
        sa.Column("decoded", sa.BigInteger(), nullable=False, comment="readings"),
        sa.Column("inserted", sa.BigInteger(), nullable=False, comment="readings in `metric`"),
        sa.Column("duplicate_readings", sa.BigInteger(), nullable=False, comment="readings in `metric_duplicate`"),
        sa.Column("refused", sa.BigInteger(), nullable=False, comment="readings that became dead letters"),
        sa.Column(
            "conflicts", sa.BigInteger(), nullable=False, comment="inserted where another value stood at that time"
        ),
        sa.Column("least_time", TIMESTAMP, comment="least event time of its readings"),
        sa.Column("greatest_time", TIMESTAMP, comment="greatest event time of its readings"),
        sa.Column(
            "route_versions", JSONB(), nullable=False, comment="route name -> version, filter and format that made it"
        ),
        sa.Column("transformer_versions", JSONB(), nullable=False, comment="format -> version that made it"),
        sa.Column("attempt", sa.Integer(), server_default="1", nullable=False, comment="how often it was processed"),
        sa.Column("run_id", sa.Text(), comment="Dagster run of the last attempt"),
        sa.Column(
            "committed_at", TIMESTAMP, server_default=sa.text("now()"), nullable=False, comment="of the last attempt"
        ),
        sa.CheckConstraint("decoded = inserted + duplicate_readings + refused", name=op.f("ledger_readings_check")),
        sa.CheckConstraint(
            "staged = accepted + partial + dead_lettered + duplicate + ignored", name=op.f("ledger_messages_check")
        ),
        sa.PrimaryKeyConstraint("id", name="ledger_pkey"),
        sa.UniqueConstraint("name", name="ledger_name_key"),
        schema=SCHEMA,
        comment="One row a micro-batch: what became of each of its messages. Commits with the rows that it counts",
    )
    op.create_index("ledger_hour_idx", "ledger", ["hour"], schema=SCHEMA)
    op.create_index("ledger_run_id_idx", "ledger", ["run_id"], schema=SCHEMA)
    op.create_index("ledger_committed_at_idx", "ledger", ["committed_at"], schema=SCHEMA)
    op.create_table(
        "dead_letter_message",
        sa.Column("micro_batch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("received_at", TIMESTAMP, nullable=False),
        sa.Column("topic", sa.LargeBinary(), nullable=False, comment="bytes as received"),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="bytes as received"),
        sa.Column("qos", sa.SmallInteger(), nullable=False),
        sa.Column("retain", sa.Boolean(), nullable=False),
        sa.Column("content_type", sa.Text()),
        sa.Column("user_properties", JSONB(), comment="MQTT 5: pairs of name and value, in order"),
        sa.Column("made_by", JSONB(), comment="versions and run of the last retry; null: those of the ledger row"),
        sa.ForeignKeyConstraint(
            ["micro_batch"], ["sensor_platform.ledger.id"], name="dead_letter_message_micro_batch_fkey"
        ),
        sa.PrimaryKeyConstraint("micro_batch", "sequence", name="dead_letter_message_pkey"),
        schema=SCHEMA,
        comment="The raw bytes of messages that have dead letters, once each",
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("micro_batch", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column(
            "ordinal", sa.Integer(), nullable=False, comment="the refused reading's place; -1: the whole message"
        ),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("stage", sa.Text(), nullable=False, comment="route, decode, schema, range or time"),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, comment="a sentence for a person"),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False, comment="retries so far"),
        sa.Column("next_attempt_at", TIMESTAMP, comment="null: not scheduled"),
        sa.Column(
            "created_at",
            TIMESTAMP,
            server_default=sa.text("now()"),
            nullable=False,
            comment="when it was first refused",
        ),
        sa.Column("closed_at", TIMESTAMP, comment="when it was resolved or discarded"),
        sa.Column("closed_by", sa.Text(), comment="who or what resolved or discarded it"),
        sa.Column("closed_why", sa.Text()),
        sa.CheckConstraint(
            "state in ('pending', 'retrying', 'resolved', 'exhausted', 'discarded')",
            name=op.f("dead_letter_state_check"),
        ),
        sa.ForeignKeyConstraint(
            ["micro_batch", "sequence"],
            ["sensor_platform.dead_letter_message.micro_batch", "sensor_platform.dead_letter_message.sequence"],
            name="dead_letter_micro_batch_sequence_fkey",
        ),
        sa.PrimaryKeyConstraint("id", name="dead_letter_pkey"),
        sa.UniqueConstraint("micro_batch", "sequence", "ordinal", name="dead_letter_micro_batch_sequence_ordinal_key"),
        schema=SCHEMA,
        comment="Messages, or readings of them, that were refused",
    )
    op.create_index("dead_letter_code_idx", "dead_letter", ["code"], schema=SCHEMA)
    op.create_index("dead_letter_state_next_attempt_at_idx", "dead_letter", ["state", "next_attempt_at"], schema=SCHEMA)


def _watch() -> None:
    """The collector, health and alerts."""
    op.create_table(
        "collector_control",
        sa.Column("only", sa.Boolean(), server_default=sa.text("true"), nullable=False, comment="one row"),
        sa.Column(
            "sensor_on", sa.Boolean(), server_default=sa.text("true"), nullable=False, comment="mqtt_sensor's switch"
        ),
        sa.Column(
            "api_on", sa.Boolean(), server_default=sa.text("true"), nullable=False, comment="start and stop of the API"
        ),
        sa.Column(
            "changed_at", TIMESTAMP, server_default=sa.text("now()"), nullable=False, comment="when a wish last changed"
        ),
        sa.Column("changed_by", sa.Text()),
        sa.CheckConstraint('"only"', name=op.f("collector_control_only_check")),
        sa.PrimaryKeyConstraint("only", name="collector_control_pkey"),
        schema=SCHEMA,
        comment="The standing wish: collectors collect when both are on",
    )
    op.create_table(
        "collector_heartbeat",
        sa.Column("collector", sa.Text(), nullable=False, comment="the first part of its files' names"),
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("beat_at", TIMESTAMP, nullable=False),
        sa.Column("state", sa.Text(), nullable=False, comment="connecting, collecting, draining, waiting, stopped"),
        sa.Column("connected", sa.Boolean(), nullable=False),
        sa.Column("since", TIMESTAMP, nullable=False, comment="of this state"),
        sa.Column("last_packet_at", TIMESTAMP),
        sa.Column("last_commit_at", TIMESTAMP, comment="last fsync of a group"),
        sa.Column("messages", sa.BigInteger(), nullable=False, comment="staged by this process"),
        sa.Column("payload_bytes", sa.BigInteger(), nullable=False),
        sa.Column("redelivered", sa.BigInteger(), nullable=False),
        sa.Column("qos0", sa.BigInteger(), nullable=False, comment="messages without a promise"),
        sa.Column("open_messages", sa.BigInteger(), nullable=False, comment="in the open micro-batch"),
        sa.Column("connections", sa.BigInteger(), nullable=False, comment="made by this process"),
        sa.Column("error", sa.Text(), comment="what stands in the way now, in one line"),
        sa.PrimaryKeyConstraint("collector", name="collector_heartbeat_pkey"),
        schema=SCHEMA,
        comment="What each collector says of itself",
    )
    op.create_table(
        "health",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", TIMESTAMP, nullable=False),
        sa.Column(
            "figure", sa.Text(), nullable=False, comment="message_rate, error_rate_percent, dead_letters_pending, ..."
        ),
        sa.Column("subject", sa.Text(), server_default="platform", nullable=False),
        sa.Column("value", sa.Double()),
        sa.PrimaryKeyConstraint("id", name="health_pkey"),
        schema=SCHEMA,
        comment="Health figures over time",
    )
    op.create_index("health_at_idx", "health", ["at"], schema=SCHEMA)
    op.create_table(
        "alert",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("value", sa.Double()),
        sa.Column("threshold", sa.Double()),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column(
            "pending_since",
            TIMESTAMP,
            server_default=sa.text("now()"),
            nullable=False,
            comment="when the condition was first seen",
        ),
        sa.Column("fired_at", TIMESTAMP),
        sa.Column("resolved_at", TIMESTAMP),
        sa.CheckConstraint(
            "state in ('pending', 'firing', 'acknowledged', 'resolved')", name=op.f("alert_state_check")
        ),
        sa.PrimaryKeyConstraint("id", name="alert_pkey"),
        schema=SCHEMA,
        comment="The state of one rule for one subject; a new row each time it comes back",
    )
    op.create_index(
        "alert_open_key",
        "alert",
        ["rule", "subject"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.create_table(
        "alert_outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("alert_id", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("transition", sa.Text(), nullable=False, comment="firing or resolved"),
        sa.Column(
            "written_at",
            TIMESTAMP,
            server_default=sa.text("now()"),
            nullable=False,
            comment="with the change of state, in one transaction",
        ),
        sa.Column("delivered_at", TIMESTAMP),
        sa.ForeignKeyConstraint(["alert_id"], ["sensor_platform.alert.id"], name="alert_outbox_alert_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="alert_outbox_pkey"),
        sa.UniqueConstraint("alert_id", "channel", "transition", name="alert_outbox_alert_id_channel_transition_key"),
        schema=SCHEMA,
        comment="What channels are still to be told: written first, delivered from here",
    )
