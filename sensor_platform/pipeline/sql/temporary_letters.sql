CREATE TEMPORARY TABLE IF NOT EXISTS refused (
    micro_batch integer NOT NULL, sequence bigint NOT NULL, ordinal integer NOT NULL,
    stage text NOT NULL, code text NOT NULL, detail text NOT NULL
) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS refused_message (LIKE sensor_platform.dead_letter_message) ON COMMIT DELETE ROWS;
