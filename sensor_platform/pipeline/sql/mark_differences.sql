-- Minutes in which what stands now differs from what stood before. A micro-batch made again with equal results has none.
WITH both_sides AS (
    SELECT -1 AS change, series, time, value, text, quality, micro_batch, sequence, ordinal FROM removed WHERE standing
    UNION ALL
    SELECT 1, series, time, value, text, quality, micro_batch, sequence, ordinal FROM incoming
), different AS (
    SELECT series, time
    FROM both_sides
    GROUP BY series, time, value, text, quality, micro_batch, sequence, ordinal
    HAVING sum(change) <> 0
)
INSERT INTO sensor_platform.changed_bucket (level, series, bucket)
SELECT 'minute', series, date_trunc('minute', time, 'UTC') FROM different
UNION
SELECT 'minute', series, date_trunc('minute', time, 'UTC') FROM touched
