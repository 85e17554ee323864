-- Minutes and hours get partitions: their rows are copied. What reads them is made empty meanwhile and then as it was, so
-- that views of others stay, with who may read them.
DO $$
DECLARE
    name text;
    columns text;
    month date;
    view record;
    given record;
BEGIN
    FOREACH name IN ARRAY ARRAY['metrics_minute', 'metrics_hourly'] LOOP
        EXECUTE format('LOCK TABLE sensor_platform.%I IN ACCESS EXCLUSIVE MODE', name);
        CREATE TEMPORARY TABLE untied ON COMMIT DROP AS
        SELECT reader.oid::regclass AS view, pg_get_viewdef(reader.oid) AS query,
               coalesce('WITH (' || array_to_string(reader.reloptions, ', ') || ')', '') AS options,
               string_agg(
                   format('NULL::%s%s AS %I', format_type(a.atttypid, a.atttypmod),
                          ' COLLATE ' || nullif(a.attcollation, 0)::regcollation, a.attname),
                   ', ' ORDER BY a.attnum
               ) AS nothing
        FROM pg_class AS reader
        JOIN pg_attribute AS a ON a.attrelid = reader.oid AND a.attnum > 0
        WHERE reader.relkind = 'v' AND reader.oid IN (
            SELECT ev_class FROM pg_depend JOIN pg_rewrite ON pg_rewrite.oid = objid
            WHERE classid = 'pg_rewrite'::regclass AND refobjid = ('sensor_platform.' || name)::regclass
        )
        GROUP BY reader.oid;
        FOR view IN SELECT * FROM untied LOOP
            EXECUTE format('CREATE OR REPLACE VIEW %s AS SELECT %s', view.view, view.nothing);
        END LOOP;

        EXECUTE format('ALTER TABLE sensor_platform.%I RENAME TO %I', name, name || '_whole');
        EXECUTE format(
            'CREATE TABLE sensor_platform.%I (LIKE sensor_platform.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS'
            ' INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMMENTS) PARTITION BY RANGE (bucket)',
            name, name || '_whole');
        FOR given IN
            SELECT grantee::regrole AS role, privilege_type AS privilege
            FROM pg_class, aclexplode(relacl)
            WHERE pg_class.oid = ('sensor_platform.' || name || '_whole')::regclass AND grantee <> 0
        LOOP
            EXECUTE format('GRANT %s ON sensor_platform.%I TO %s', given.privilege, name, given.role);
        END LOOP;

        FOR month IN EXECUTE format(
            'SELECT DISTINCT date_trunc(''month'', timezone(''UTC'', bucket))::date FROM sensor_platform.%I ORDER BY 1',
            name || '_whole')
        LOOP
            PERFORM sensor_platform.make_partition(name, month);
        END LOOP;
        SELECT string_agg(quote_ident(attname), ', ') INTO columns
        FROM pg_attribute
        WHERE attrelid = ('sensor_platform.' || name)::regclass AND attnum > 0 AND attgenerated = '';
        EXECUTE format(
            'INSERT INTO sensor_platform.%I (%s) SELECT %s FROM sensor_platform.%I',
            name, columns, columns, name || '_whole');
        EXECUTE format('DROP TABLE sensor_platform.%I', name || '_whole');
        -- After the rows: so the indexes are made at once, and small.
        EXECUTE format(
            'ALTER TABLE sensor_platform.%I ADD CONSTRAINT %I PRIMARY KEY (series, bucket)', name, name || '_pkey');
        EXECUTE format('CREATE INDEX %I ON sensor_platform.%I (bucket)', name || '_bucket_idx', name);
        EXECUTE format('ANALYZE sensor_platform.%I', name);

        FOR view IN SELECT * FROM untied LOOP
            -- With its options: CREATE OR REPLACE takes those away that are not named, as that it reads as who asks it.
            EXECUTE format('CREATE OR REPLACE VIEW %s %s AS %s', view.view, view.options, view.query);
        END LOOP;
        DROP TABLE untied;
    END LOOP;
END $$;

COMMENT ON TABLE sensor_platform.metrics_minute IS
    'Figures of each series a minute, partitioned by month; see the view `rollup_minute`';
COMMENT ON TABLE sensor_platform.metrics_hourly IS
    'The same an hour, from metrics_minute, partitioned by month; see `rollup_hour`';
