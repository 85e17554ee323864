-- The sensors of a place and of all places in it together, by metric and unit: only like can be summed with like. Made
-- of the rollups of their series when it is read, so the two never differ. Sums are taken in the order of the series.
CREATE VIEW {view} AS
WITH RECURSIVE place (work_unit, within, parent_id) AS (
    SELECT name, name, parent_id FROM sensor_platform.work_unit
    UNION -- not ALL: that would never end where a place lies in itself
    SELECT place.work_unit, above.name, above.parent_id
    FROM place
    JOIN sensor_platform.work_unit AS above ON above.id = place.parent_id
)
SELECT
    merged.work_unit,
    merged.metric,
    merged.unit,
    merged.bucket,
    count(*) AS sensors,
    sum(merged.count)::bigint AS count,
    min(merged.min) AS min,
    max(merged.max) AS max,
    sum(merged.sum ORDER BY merged.series) / nullif(sum(merged.count), 0)::double precision AS mean,
    CASE WHEN sum(merged.count) > 1 THEN sqrt(
        sensor_platform.summable(sum(
            CASE WHEN merged.has_squares AND merged.count > 0 THEN
                merged.m2 + CASE WHEN abs(merged.off) < 1e-140 THEN 0 ELSE merged.count * merged.off * merged.off END
            END
            ORDER BY merged.series
        )) / (sum(merged.count) - 1)::double precision
    ) END AS stddev,
    sum(merged.time_weighted_mean * merged.known_s ORDER BY merged.series) FILTER (WHERE merged.known_s > 0)
        / sum(merged.known_s ORDER BY merged.series) FILTER (WHERE merged.known_s > 0) AS time_weighted_mean,
    sum(merged.good)::double precision / sum(merged.readings)::double precision AS good_share,
    sum(merged.readings)::bigint AS readings,
    sum(merged.good)::bigint AS good,
    sum(merged.sum ORDER BY merged.series) AS sum
FROM (
    SELECT place.within AS work_unit, rollup.metric, rollup.unit, rollup.bucket, rollup.series,
           rollup.count, rollup.min, rollup.max, rollup.sum, rollup.m2, rollup.readings, rollup.good,
           rollup.time_weighted_mean, rollup.known_s,
           rollup.mean - sum(rollup.sum) OVER together / sum(rollup.count) OVER together AS off,
           bool_and(rollup.count = 0 OR rollup.m2 IS NOT NULL) OVER together AS has_squares
    FROM place
    JOIN {rollup} AS rollup ON rollup.work_unit = place.work_unit
    WINDOW together AS (
        PARTITION BY place.within, rollup.metric, rollup.unit, rollup.bucket
        ORDER BY rollup.series ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING
    )
) AS merged
GROUP BY merged.work_unit, merged.metric, merged.unit, merged.bucket;

COMMENT ON VIEW {view} IS 'Rollups of a work unit and of all work units that lie in it, by metric and unit';
COMMENT ON COLUMN {view}.bucket IS 'start, UTC';
COMMENT ON COLUMN {view}.sensors IS 'series with a row in the bucket';
COMMENT ON COLUMN {view}.mean IS 'each reading weighs the same';
COMMENT ON COLUMN {view}.stddev IS 'of the sample; null for fewer than two readings';
COMMENT ON COLUMN {view}.time_weighted_mean IS 'each sensor weighs by the time for which its value is known';
COMMENT ON COLUMN {view}.good_share IS 'of all its readings, those of bad quality included';
