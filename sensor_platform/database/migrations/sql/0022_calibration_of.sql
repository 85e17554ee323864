-- The calibration with which a reading was made, if any: of its event time, in the version of the registry with which its
-- micro-batch was made, or, after a retry, its message.
CREATE FUNCTION sensor_platform.calibration_of(series integer, at timestamptz, micro_batch integer, sequence bigint)
RETURNS SETOF sensor_platform.calibration
LANGUAGE sql STABLE AS $$
    SELECT calibration.*
    FROM sensor_platform.ledger
    LEFT JOIN sensor_platform.dead_letter_message AS message
           ON message.micro_batch = ledger.id AND message.sequence = $4
    CROSS JOIN LATERAL (
        SELECT coalesce(CAST(message.made_by ->> 'registry' AS bigint), ledger.registry_as_of) AS version
    ) AS registry
    JOIN sensor_platform.calibration
      ON calibration.series = $1
     AND calibration.from_version <= registry.version
     AND coalesce(calibration.to_version > registry.version, true)
     AND coalesce(calibration.valid_from <= $2, true) AND coalesce($2 < calibration.valid_to, true)
    WHERE ledger.id = $3
$$;
