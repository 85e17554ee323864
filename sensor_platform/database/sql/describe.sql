SELECT
    CASE relation.relkind WHEN 'v' THEN 'v' ELSE 'r' END AS kind,
    relation.relname,
    obj_description(relation.oid, 'pg_class') AS relation_comment,
    attribute.attname,
    format_type(attribute.atttypid, attribute.atttypmod) AS type,
    NOT attribute.attnotnull AND relation.relkind <> 'v' AS nullable,
    col_description(relation.oid, attribute.attnum) AS comment
FROM pg_class AS relation
JOIN pg_attribute AS attribute ON attribute.attrelid = relation.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
WHERE relation.relnamespace = 'sensor_platform'::regnamespace
  AND relation.relkind IN ('r', 'p', 'v')
  AND NOT relation.relispartition
  AND relation.relname <> 'alembic_version'
ORDER BY kind DESC, relation.relname, attribute.attnum
