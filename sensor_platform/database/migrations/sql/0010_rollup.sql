-- What people and programs query. A value holds until the next one: what held at the start of the bucket is the last
-- value before it, however old, and what held at its end is the last one in it.
CREATE VIEW {view} AS
SELECT
    work_unit.name AS work_unit,
    sensor.name AS sensor,
    series.metric,
    series.unit,
    rollup.bucket,
    rollup.count,
    rollup.min,
    rollup.max,
    rollup.mean,
    CASE WHEN rollup.count > 1 THEN sqrt(rollup.m2 / (rollup.count - 1)) END AS stddev,
    rollup.first,
    rollup.first_time,
    rollup.last,
    rollup.last_time,
    CASE WHEN seconds.before + seconds.after > 0 THEN (
        CASE WHEN seconds.before > 0 THEN sensor_platform.summable(held.value) * seconds.before ELSE 0 END
        + CASE WHEN seconds.after > 0 THEN
            rollup.area
            + sensor_platform.summable(rollup.last) * date_part('epoch', rollup.bucket + {length} - rollup.last_time)
          ELSE 0 END
    ) / (seconds.before + seconds.after) END AS time_weighted_mean,
    seconds.before + seconds.after AS known_s,
    rollup.good::double precision / rollup.readings AS good_share,
    rollup.readings,
    rollup.good,
    rollup.sum,
    rollup.m2,
    rollup.series
FROM {table} AS rollup
JOIN sensor_platform.series ON series.id = rollup.series
JOIN sensor_platform.sensor ON sensor.id = series.sensor_id
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id
-- max() of the one row tells the planner that there is one: it leaves the join out where no figure of it is asked for.
LEFT JOIN LATERAL (
    SELECT max(newest.last) AS value
    FROM (
        SELECT earlier.last
        FROM {table} AS earlier
        WHERE earlier.series = rollup.series AND earlier.bucket < rollup.bucket AND earlier.count > 0
        ORDER BY earlier.bucket DESC
        LIMIT 1
    ) AS newest
) AS held ON true
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN held.value IS NULL THEN 0 ELSE
            date_part('epoch', coalesce(rollup.first_time, rollup.bucket + {length}) - rollup.bucket)
        END AS before,
        CASE WHEN rollup.count > 0 THEN date_part('epoch', rollup.bucket + {length} - rollup.first_time) ELSE 0 END
            AS after
) AS seconds
;
COMMENT ON VIEW {view} IS 'Rollups by name, with deviation, time-weighted mean and the share of good readings';
COMMENT ON COLUMN {view}.bucket IS 'start, UTC';
COMMENT ON COLUMN {view}.stddev IS 'of the sample; null for fewer than two readings';
COMMENT ON COLUMN {view}.time_weighted_mean IS 'each value holds until the next one; null where none is known';
COMMENT ON COLUMN {view}.known_s IS 'seconds of the bucket in which a value is known';
COMMENT ON COLUMN {view}.good_share IS 'of all its readings, those of bad quality included'
