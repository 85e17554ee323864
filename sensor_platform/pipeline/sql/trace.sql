-- Every reading that stands at a time, those that the series' policy does not show included, in received order.
SELECT work_unit.name AS work_unit, sensor.name AS sensor, series.metric, metric.time, metric.value,
       CASE WHEN metric.text <> '' OR metric.value IS NULL THEN metric.text END AS text,
       series.unit,
       CASE metric.source_unit::integer WHEN 0 THEN series.unnamed_unit ELSE series.units[metric.source_unit::integer] END
           AS source_unit,
       CASE metric.quality WHEN 'g' THEN 'good' WHEN 'u' THEN 'uncertain' ELSE 'bad' END AS quality,
       ledger.name AS micro_batch, ledger.hour, ledger.bytes_deleted_at, metric.sequence,
       ledger.route_versions, ledger.transformer_versions, ledger.run_id, ledger.committed_at,
       CASE WHEN message.bytes_deleted_at IS NULL THEN message.topic END AS topic,
       CASE WHEN message.bytes_deleted_at IS NULL THEN message.payload END AS payload,
       message.received_at, message.made_by,
       calibration.id IS NOT NULL AS is_calibrated, calibration.valid_from, calibration.valid_to,
       calibration.scale, calibration."offset"
FROM sensor_platform.work_unit
JOIN sensor_platform.sensor ON sensor.work_unit_id = work_unit.id
JOIN sensor_platform.series ON series.sensor_id = sensor.id
JOIN sensor_platform.metric ON metric.series = series.id
JOIN sensor_platform.ledger ON ledger.id = metric.micro_batch
LEFT JOIN sensor_platform.dead_letter_message AS message
       ON message.micro_batch = metric.micro_batch AND message.sequence = metric.sequence
LEFT JOIN LATERAL sensor_platform.calibration_of(metric.series, metric.time, metric.micro_batch, metric.sequence)
       AS calibration ON true
WHERE work_unit.name = :work_unit AND sensor.name = :sensor AND series.metric = :metric AND metric.time = :time
ORDER BY ledger.first_received_at, ledger.name, metric.sequence, metric.ordinal
