-- The readings of one message: those that stand, and those kept aside, each with the equal one that it stands behind.
WITH own AS (
    SELECT true AS stands, reading.*
    FROM sensor_platform.metric AS reading
    WHERE reading.micro_batch = :micro_batch AND reading.sequence = :sequence
      AND reading.time >= :least AND reading.time <= :greatest
    UNION ALL
    SELECT false AS stands, reading.*
    FROM sensor_platform.metric_duplicate AS reading
    WHERE reading.micro_batch = :micro_batch AND reading.sequence = :sequence
)
SELECT work_unit.name AS work_unit, sensor.name AS sensor, series.metric, own.time, own.value,
       CASE WHEN own.text <> '' OR own.value IS NULL THEN own.text END AS text, series.unit,
       CASE own.source_unit::integer WHEN 0 THEN series.unnamed_unit ELSE series.units[own.source_unit::integer] END
           AS source_unit,
       CASE own.quality WHEN 'g' THEN 'good' WHEN 'u' THEN 'uncertain' ELSE 'bad' END AS quality,
       calibration.id IS NOT NULL AS is_calibrated, calibration.valid_from, calibration.valid_to,
       calibration.scale, calibration."offset",
       own.ordinal, own.stands, before.micro_batch AS behind_micro_batch, before.sequence AS behind_sequence
FROM own
JOIN sensor_platform.series ON series.id = own.series
JOIN sensor_platform.sensor ON sensor.id = series.sensor_id
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id
LEFT JOIN LATERAL sensor_platform.calibration_of(own.series, own.time, own.micro_batch, own.sequence)
       AS calibration ON true
LEFT JOIN LATERAL (
    SELECT ledger.name AS micro_batch, reading.sequence
    FROM sensor_platform.metric AS reading
    JOIN sensor_platform.ledger ON ledger.id = reading.micro_batch
    WHERE NOT own.stands AND reading.series = own.series AND reading.time = own.time
      AND reading.value IS NOT DISTINCT FROM own.value
      AND reading.text = own.text
      AND reading.quality = own.quality
      AND NOT reading.timed_by_receipt
    LIMIT 1
) AS before ON true
ORDER BY own.ordinal, own.time, series.metric
