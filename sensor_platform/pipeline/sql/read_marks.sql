SELECT series, time FROM sensor_platform.high_water_mark WHERE series = ANY(CAST(:series AS integer[]))
