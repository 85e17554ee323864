UPDATE sensor_platform.ledger
SET staged = ledger.staged + made.staged,
    accepted = ledger.accepted + made.accepted,
    partial = ledger.partial + made.partial,
    dead_lettered = ledger.dead_lettered + made.dead_lettered,
    duplicate = ledger.duplicate + made.duplicate,
    ignored = ledger.ignored + made.ignored,
    decoded = ledger.decoded + made.decoded,
    inserted = ledger.inserted + made.inserted,
    duplicate_readings = ledger.duplicate_readings + made.duplicate_readings,
    refused = ledger.refused + made.refused,
    thinned = ledger.thinned + made.thinned,
    expired = ledger.expired + made.expired,
    conflicts = ledger.conflicts + made.conflicts,
    least_time = least(ledger.least_time, made.least_time),
    greatest_time = greatest(ledger.greatest_time, made.greatest_time)
FROM unnest(
    CAST(:id AS integer[]),
    CAST(:staged AS bigint[]), CAST(:accepted AS bigint[]), CAST(:partial AS bigint[]),
    CAST(:dead_lettered AS bigint[]), CAST(:duplicate AS bigint[]), CAST(:ignored AS bigint[]),
    CAST(:decoded AS bigint[]), CAST(:inserted AS bigint[]), CAST(:duplicate_readings AS bigint[]),
    CAST(:refused AS bigint[]), CAST(:thinned AS bigint[]), CAST(:expired AS bigint[]),
    CAST(:conflicts AS bigint[]),
    CAST(:least_time AS timestamptz[]), CAST(:greatest_time AS timestamptz[])
) AS made (
    id, staged, accepted, partial, dead_lettered, duplicate, ignored,
    decoded, inserted, duplicate_readings, refused, thinned, expired, conflicts, least_time, greatest_time
)
WHERE ledger.id = made.id
