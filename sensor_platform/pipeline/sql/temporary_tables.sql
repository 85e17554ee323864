-- Kept by the session, emptied by each commit: making them anew each time would bloat the catalogue.
CREATE TEMPORARY TABLE IF NOT EXISTS scope (micro_batch integer NOT NULL, sequence bigint) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS incoming
    (place integer NOT NULL, LIKE sensor_platform.metric) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS removed
    (standing boolean NOT NULL, LIKE sensor_platform.metric) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS touched
    (change integer NOT NULL, LIKE sensor_platform.metric) ON COMMIT DELETE ROWS;
