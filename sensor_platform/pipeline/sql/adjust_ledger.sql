-- The ledger rows of readings that were promoted (+1) or demoted (-1), and the classes of their messages: one that has a
-- standing reading now and had none was a duplicate; one that had and has none is one now; refusals decide before both.
WITH message AS (
    SELECT micro_batch, sequence, sum(change) AS net FROM touched GROUP BY micro_batch, sequence
), bounds AS (
    SELECT min(least_time) AS least, max(greatest_time) AS greatest
    FROM sensor_platform.ledger
    WHERE id IN (SELECT micro_batch FROM message)
), standing AS (
    SELECT reading.micro_batch, reading.sequence, count(*) AS n
    FROM sensor_platform.metric AS reading
    JOIN message ON message.micro_batch = reading.micro_batch AND message.sequence = reading.sequence
    WHERE reading.micro_batch = ANY(ARRAY(SELECT micro_batch FROM message))
      AND reading.time >= (SELECT least FROM bounds) AND reading.time <= (SELECT greatest FROM bounds)
    GROUP BY reading.micro_batch, reading.sequence
), now_and_before AS (
    SELECT message.micro_batch, message.net,
           coalesce(standing.n, 0) AS n,
           coalesce(standing.n, 0) - message.net AS n_before,
           EXISTS (
               SELECT FROM sensor_platform.dead_letter AS letter
               WHERE letter.micro_batch = message.micro_batch
                 AND letter.sequence = message.sequence
                 AND letter.state <> 'resolved'
           ) AS refused
    FROM message
    LEFT JOIN standing ON standing.micro_batch = message.micro_batch AND standing.sequence = message.sequence
), change AS (
    SELECT micro_batch, sum(net) AS readings,
           count(*) FILTER (WHERE NOT refused AND n > 0 AND n_before = 0)
           - count(*) FILTER (WHERE NOT refused AND n = 0 AND n_before > 0) AS messages
    FROM now_and_before
    GROUP BY micro_batch
)
UPDATE sensor_platform.ledger
SET inserted = ledger.inserted + change.readings,
    duplicate_readings = ledger.duplicate_readings - change.readings,
    accepted = ledger.accepted + change.messages,
    duplicate = ledger.duplicate - change.messages
FROM change
WHERE ledger.id = change.micro_batch
