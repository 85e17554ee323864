-- Takes the messages of the scope, as they stand, out of the counts of their ledger rows. What retention has deleted of a
-- message counted as inserted.
WITH taken AS (
    SELECT micro_batch, sequence,
           count(*) FILTER (WHERE standing) AS standing,
           count(*) FILTER (WHERE NOT standing) AS aside
    FROM removed
    GROUP BY micro_batch, sequence
), letters AS (
    SELECT letter.micro_batch, letter.sequence, count(*) AS all_of_them,
           count(*) FILTER (WHERE letter.ordinal >= 0) AS readings
    FROM sensor_platform.dead_letter AS letter
    JOIN scope ON scope.micro_batch = letter.micro_batch AND scope.sequence = letter.sequence
    WHERE letter.state <> 'resolved'
    GROUP BY letter.micro_batch, letter.sequence
), message AS (
    SELECT scope.micro_batch, coalesce(standing, 0) + coalesce(kept.expired, 0) AS standing,
           coalesce(aside, 0) AS aside, coalesce(kept.expired, 0) AS expired,
           coalesce(all_of_them, 0) AS letters, coalesce(readings, 0) AS refused,
           coalesce(kept.thinned, 0) AS thinned
    FROM scope
    LEFT JOIN taken ON taken.micro_batch = scope.micro_batch AND taken.sequence = scope.sequence
    LEFT JOIN letters ON letters.micro_batch = scope.micro_batch AND letters.sequence = scope.sequence
    LEFT JOIN sensor_platform.dead_letter_message AS kept
           ON kept.micro_batch = scope.micro_batch AND kept.sequence = scope.sequence
), counted AS (
    SELECT micro_batch,
           count(*) AS staged,
           count(*) FILTER (WHERE letters = 0 AND standing > 0) AS accepted,
           count(*) FILTER (WHERE letters > 0 AND standing + aside > 0) AS partial,
           count(*) FILTER (WHERE letters > 0 AND standing + aside = 0) AS dead_lettered,
           count(*) FILTER (WHERE letters = 0 AND standing = 0 AND aside > 0) AS duplicate,
           count(*) FILTER (WHERE letters = 0 AND standing = 0 AND aside = 0) AS ignored,
           sum(standing) AS inserted,
           sum(aside) AS duplicate_readings,
           sum(refused) AS refused,
           sum(thinned) AS thinned,
           sum(expired) AS expired
    FROM message
    GROUP BY micro_batch
)
UPDATE sensor_platform.ledger
SET staged = ledger.staged - counted.staged,
    accepted = ledger.accepted - counted.accepted,
    partial = ledger.partial - counted.partial,
    dead_lettered = ledger.dead_lettered - counted.dead_lettered,
    duplicate = ledger.duplicate - counted.duplicate,
    ignored = ledger.ignored - counted.ignored,
    decoded = ledger.decoded - counted.inserted - counted.duplicate_readings - counted.refused,
    inserted = ledger.inserted - counted.inserted,
    duplicate_readings = ledger.duplicate_readings - counted.duplicate_readings,
    refused = ledger.refused - counted.refused,
    thinned = ledger.thinned - counted.thinned,
    expired = ledger.expired - counted.expired
FROM counted
WHERE ledger.id = counted.micro_batch
