-- Bytes and rows (as estimated by the last ANALYZE) of our tables; those of partitions count for the table that they are of.
SELECT parent.relname AS name,
       CAST(sum(pg_table_size(part.oid)) AS bigint) AS table_bytes,
       CAST(sum(pg_indexes_size(part.oid)) AS bigint) AS index_bytes,
       CAST(sum(greatest(part.reltuples, 0)) AS bigint) AS rows,
       count(*) FILTER (WHERE part.oid <> parent.oid) AS partitions
FROM pg_class AS parent
JOIN pg_class AS part
  ON part.oid = parent.oid OR part.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = parent.oid)
WHERE parent.relnamespace = CAST('sensor_platform' AS regnamespace)
  AND parent.relkind IN ('r', 'p')
  AND parent.relname = ANY(CAST(:tables AS text[]))
GROUP BY parent.relname
ORDER BY parent.relname
