-- The calibrations in force today.
SELECT series, valid_from, valid_to, scale, "offset"
FROM sensor_platform.calibration
WHERE series = ANY(CAST(:series AS integer[])) AND to_version IS NULL
ORDER BY series, valid_from NULLS FIRST
