-- The time of a reading of each of these days: the first one from a moment on that is another for each series and day, and
-- the same one each time that it is asked for. Where none comes after it, the first one of the day.
SELECT days.series, days.day, coalesce(later.time, earliest.time) AS at
FROM unnest(CAST(:series AS integer[]), CAST(:days AS timestamptz[])) AS days (series, day)
CROSS JOIN LATERAL (
    SELECT days.day + ((hashint4(days.series) + hashint8(CAST(date_part('epoch', days.day) AS bigint))::bigint) % 86400
                       + 86400) % 86400 * interval '1 second' AS at
) AS moment
LEFT JOIN LATERAL (
    SELECT min(reading.time) AS time FROM sensor_platform.metric AS reading
    WHERE reading.series = days.series AND reading.time >= moment.at AND reading.time < days.day + interval '24 hours'
      AND reading.value IS NOT NULL
) AS later ON true
LEFT JOIN LATERAL (
    SELECT min(reading.time) AS time FROM sensor_platform.metric AS reading
    WHERE reading.series = days.series AND reading.time >= days.day AND reading.time < days.day + interval '24 hours'
      AND reading.value IS NOT NULL
) AS earliest ON true
WHERE earliest.time IS NOT NULL
