-- Notes which units the readings of a series name, once each, so that a reading needs one byte to say which was its own.
-- Past 126 no more is noted: the bytes still tell.
WITH seen AS (
    SELECT series.id, series.units, array_agg(seen.unit ORDER BY seen.place) AS named
    FROM unnest(
        CAST(:work_units AS text[]), CAST(:sensors AS text[]), CAST(:metrics AS text[]), CAST(:named AS text[])
    ) WITH ORDINALITY AS seen (work_unit, sensor, metric, unit, place)
    JOIN sensor_platform.work_unit ON work_unit.name = seen.work_unit
    JOIN sensor_platform.sensor ON sensor.work_unit_id = work_unit.id AND sensor.name = seen.sensor
    JOIN sensor_platform.series ON series.sensor_id = sensor.id AND series.metric = seen.metric
    WHERE seen.unit <> ALL(series.units)
    GROUP BY series.id
), locked AS (
    SELECT series.id FROM sensor_platform.series JOIN seen ON seen.id = series.id ORDER BY series.id FOR UPDATE OF series
)
UPDATE sensor_platform.series
SET units = (series.units || ARRAY(SELECT unit FROM unnest(seen.named) AS unit WHERE unit <> ALL(series.units)))[1:126]
FROM seen JOIN locked ON locked.id = seen.id
WHERE series.id = seen.id
