SELECT unit, unnamed_unit, minimum, maximum FROM sensor_platform.series WHERE id = :series FOR UPDATE
