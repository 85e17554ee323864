SELECT work_unit.name AS work_unit, work_unit.id, work_unit.level, parent.name AS parent, work_unit.description
FROM sensor_platform.work_unit
LEFT JOIN sensor_platform.work_unit AS parent ON parent.id = work_unit.parent_id
WHERE work_unit.name = ANY(CAST(:work_units AS text[]))
