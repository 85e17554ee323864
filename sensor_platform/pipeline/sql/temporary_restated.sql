CREATE TEMPORARY TABLE IF NOT EXISTS restated
    (part oid NOT NULL, row tid NOT NULL, value double precision NOT NULL, text text) ON COMMIT DELETE ROWS
