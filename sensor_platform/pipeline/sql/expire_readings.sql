-- From now on readings before :kept_from count as expired, in the ledger and in messages that have dead letters. Of those
-- it is not known any more which were duplicates: all of them count as inserted.
WITH touched AS MATERIALIZED (
    SELECT id, greatest_time, expired
    FROM sensor_platform.ledger
    WHERE least_time < :kept_from AND expired < inserted + duplicate_readings
), straddling AS MATERIALIZED (
    SELECT id, greatest_time FROM touched WHERE greatest_time >= :kept_from
), standing AS (
    SELECT micro_batch, count(*) AS n
    FROM sensor_platform.metric
    WHERE micro_batch = ANY(ARRAY(SELECT id FROM straddling))
      AND time >= :kept_from AND time <= (SELECT max(greatest_time) FROM straddling)
    GROUP BY micro_batch
), aside AS (
    SELECT micro_batch, count(*) AS n
    FROM sensor_platform.metric_duplicate
    WHERE micro_batch = ANY(ARRAY(SELECT id FROM straddling)) AND time >= :kept_from
    GROUP BY micro_batch
), of_letters AS (
    SELECT reading.micro_batch, reading.sequence, count(*) AS n
    FROM (
        SELECT micro_batch, sequence, time FROM sensor_platform.metric
        UNION ALL
        SELECT micro_batch, sequence, time FROM sensor_platform.metric_duplicate
    ) AS reading
    JOIN sensor_platform.dead_letter_message AS message
      ON message.micro_batch = reading.micro_batch AND message.sequence = reading.sequence
    WHERE reading.micro_batch = ANY(ARRAY(
              SELECT message.micro_batch
              FROM sensor_platform.dead_letter_message AS message
              JOIN touched ON touched.id = message.micro_batch
          ))
      AND reading.time < :kept_from AND reading.time >= :kept_before
    GROUP BY reading.micro_batch, reading.sequence
), messages AS (
    UPDATE sensor_platform.dead_letter_message AS message
    SET expired = message.expired + of_letters.n
    FROM of_letters
    WHERE message.micro_batch = of_letters.micro_batch AND message.sequence = of_letters.sequence
), updated AS (
    UPDATE sensor_platform.ledger
    SET inserted = ledger.inserted + ledger.duplicate_readings - coalesce(aside.n, 0),
        duplicate_readings = coalesce(aside.n, 0),
        expired = ledger.inserted + ledger.duplicate_readings - coalesce(standing.n, 0) - coalesce(aside.n, 0)
    FROM touched
    LEFT JOIN standing ON standing.micro_batch = touched.id
    LEFT JOIN aside ON aside.micro_batch = touched.id
    WHERE ledger.id = touched.id
    RETURNING ledger.expired - touched.expired AS n
)
SELECT CAST(coalesce(sum(n), 0) AS bigint) FROM updated
