INSERT INTO sensor_platform.metric
    (time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit)
SELECT time, value, sequence, series, micro_batch, ordinal, quality, timed_by_receipt, text, source_unit
FROM incoming
ORDER BY series, time
