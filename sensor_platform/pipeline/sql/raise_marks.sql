INSERT INTO sensor_platform.high_water_mark (series, time)
SELECT series, time FROM unnest(CAST(:series AS integer[]), CAST(:times AS timestamptz[])) AS loaded (series, time)
ON CONFLICT (series) DO UPDATE SET time = excluded.time WHERE high_water_mark.time < excluded.time
