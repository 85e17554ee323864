-- The unit of a series changed: what its calibrations make of a value is the same in the new one. Those of before too,
-- by which `trace` tells what a value was.
UPDATE sensor_platform.calibration
SET "offset" = (:factor * "offset" + :offset * (1 - scale)) / :divisor
WHERE series = :series
