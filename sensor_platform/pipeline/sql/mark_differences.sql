-- Minutes in which what stands now differs from what stood before. A micro-batch made again with equal results has none.
WITH stood AS (
    SELECT series, time, value, text, quality, micro_batch, sequence, ordinal FROM removed WHERE standing
), stands AS (
    SELECT series, time, value, text, quality, micro_batch, sequence, ordinal FROM incoming
), different AS (
    (SELECT * FROM stood EXCEPT ALL SELECT * FROM stands)
    UNION ALL
    (SELECT * FROM stands EXCEPT ALL SELECT * FROM stood)
)
INSERT INTO sensor_platform.changed_bucket (level, series, bucket)
SELECT 'minute', series, date_trunc('minute', time, 'UTC') FROM different
UNION
SELECT 'minute', series, date_trunc('minute', time, 'UTC') FROM touched
