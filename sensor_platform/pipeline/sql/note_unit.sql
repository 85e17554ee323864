UPDATE sensor_platform.series
SET units = CASE WHEN :unit = ANY(units) THEN units ELSE (units || CAST(:unit AS text))[1:126] END
WHERE id = :series
RETURNING units
