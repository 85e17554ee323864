INSERT INTO sensor_platform.changed_bucket (level, series, bucket)
SELECT 'minute', series, bucket
FROM unnest(CAST(:series AS integer[]), CAST(:buckets AS timestamptz[])) AS loaded (series, bucket)
