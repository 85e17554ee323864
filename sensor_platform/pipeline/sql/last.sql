SELECT work_unit, sensor, metric, time, value, text, unit, quality
FROM sensor_platform.last_reading
WHERE (CAST(:work_unit AS text) IS NULL OR work_unit = :work_unit)
  AND (CAST(:sensor AS text) IS NULL OR sensor = :sensor)
  AND (CAST(:metric AS text) IS NULL OR metric = :metric)
ORDER BY work_unit, sensor, metric
LIMIT :limit
