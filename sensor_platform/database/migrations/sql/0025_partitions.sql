-- A role that loads must not own the tables, and only their owner can attach or drop a partition: these two do it for
-- whoever may execute them, of these tables, and nothing else.
DROP FUNCTION sensor_platform.make_partition(date);
DROP FUNCTION sensor_platform.drop_partition(date);

CREATE FUNCTION sensor_platform.partition_name(of text, month date) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF of IS NULL OR of NOT IN ('metric', 'metrics_minute', 'metrics_hourly') THEN
        RAISE EXCEPTION '% has no partitions', of;
    END IF;
    RETURN of || '_' || to_char(month, 'YYYY_MM');
END $$;

CREATE FUNCTION sensor_platform.make_partition(of text, month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first CONSTANT timestamp := date_trunc('month', month);
    name CONSTANT text := sensor_platform.partition_name(of, month);
BEGIN
    -- Not CREATE TABLE ... PARTITION OF: that locks all of the table against readers. A table of its own that is attached
    -- takes a lock that only other attaches wait for.
    EXECUTE format(
        'CREATE TABLE sensor_platform.%I (LIKE sensor_platform.%I'
        ' INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE)', name, of);
    EXECUTE format(
        'ALTER TABLE sensor_platform.%I ATTACH PARTITION sensor_platform.%I FOR VALUES FROM (%L) TO (%L)',
        of, name, first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC');
END $$;

CREATE FUNCTION sensor_platform.drop_partition(of text, month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('DROP TABLE sensor_platform.%I', sensor_platform.partition_name(of, month));
END $$;

REVOKE EXECUTE ON FUNCTION
    sensor_platform.partition_name(text, date),
    sensor_platform.make_partition(text, date),
    sensor_platform.drop_partition(text, date)
FROM PUBLIC;
