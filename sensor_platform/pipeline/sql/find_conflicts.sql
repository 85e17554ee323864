-- Incoming readings at a time where another value stands already.
SELECT incoming.place
FROM incoming
WHERE EXISTS (
    SELECT
    FROM sensor_platform.metric AS reading
    WHERE reading.series = incoming.series
      AND reading.time = incoming.time
      AND reading.time >= :least AND reading.time <= :greatest
      AND (reading.value IS DISTINCT FROM incoming.value
           OR reading.text <> incoming.text
           OR reading.quality <> incoming.quality)
)
