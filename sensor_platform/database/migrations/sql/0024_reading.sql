-- What people and programs query: readings with names, and of several values at one time those that the series' policy
-- shows. Received order is (first_received_at of the micro-batch, its name, sequence, ordinal), never the order of loading.
CREATE OR REPLACE VIEW sensor_platform.reading AS
SELECT
    work_unit.name AS work_unit,
    sensor.name AS sensor,
    series.metric,
    metric.time,
    metric.value,
    CASE WHEN metric.text <> '' OR metric.value IS NULL THEN metric.text END AS text,
    series.unit,
    CASE metric.quality WHEN 'g' THEN 'good' WHEN 'u' THEN 'uncertain' ELSE 'bad' END AS quality,
    series.conflicts,
    metric.series,
    metric.micro_batch,
    metric.sequence,
    metric.ordinal
FROM sensor_platform.metric
JOIN sensor_platform.series ON series.id = metric.series
JOIN sensor_platform.sensor ON sensor.id = series.sensor_id
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id
WHERE series.conflicts = 'all'
   OR NOT EXISTS (
        SELECT
        FROM sensor_platform.metric AS other
        JOIN sensor_platform.ledger AS other_ledger ON other_ledger.id = other.micro_batch
        JOIN sensor_platform.ledger AS own_ledger ON own_ledger.id = metric.micro_batch
        WHERE other.series = metric.series
          AND other.time = metric.time
          AND CASE series.conflicts
                WHEN 'first' THEN
                    (other_ledger.first_received_at, other_ledger.name, other.sequence, other.ordinal)
                    < (own_ledger.first_received_at, own_ledger.name, metric.sequence, metric.ordinal)
                ELSE
                    (other_ledger.first_received_at, other_ledger.name, other.sequence, other.ordinal)
                    > (own_ledger.first_received_at, own_ledger.name, metric.sequence, metric.ordinal)
              END
   );
