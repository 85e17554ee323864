-- A role that loads must not own the tables, and only their owner can attach or drop a partition: these two do it for
-- whoever may execute them, and nothing else.
CREATE FUNCTION sensor_platform.make_partition(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first CONSTANT timestamp := date_trunc('month', month);
    name CONSTANT text := 'metric_' || to_char(first, 'YYYY_MM');
BEGIN
    -- Not CREATE TABLE ... PARTITION OF: that locks all of `metric` against readers. A table of its own that is attached
    -- takes a lock that only other attaches wait for.
    EXECUTE format(
        'CREATE TABLE sensor_platform.%I'
        ' (LIKE sensor_platform.metric INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', name);
    EXECUTE format(
        'ALTER TABLE sensor_platform.metric ATTACH PARTITION sensor_platform.%I FOR VALUES FROM (%L) TO (%L)',
        name, first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC');
END $$;

CREATE FUNCTION sensor_platform.drop_partition(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('DROP TABLE sensor_platform.%I', 'metric_' || to_char(month, 'YYYY_MM'));
END $$;

REVOKE EXECUTE ON FUNCTION sensor_platform.make_partition(date), sensor_platform.drop_partition(date) FROM PUBLIC;
