-- The newest micro-batches of each hour; `in_all`: of that hour, by that run.
SELECT name, hour, first_received_at, staged AS messages, dead_lettered + partial AS refused, inserted AS readings,
       attempt, in_all
FROM (
    SELECT *, row_number() OVER (PARTITION BY hour ORDER BY first_received_at DESC, name DESC) AS place,
           count(*) OVER (PARTITION BY hour) AS in_all
    FROM sensor_platform.ledger
    WHERE run_id = :run_id
) AS numbered
WHERE place <= :most
ORDER BY hour, place
