-- A clock that is ahead cannot be mistaken: no message arrives before it was sent. One that is behind looks like a long
-- way: it is told where the delays are alike, which those of old readings, sent as fast as may be, are not.
CREATE VIEW sensor_platform.sensor_skew AS
SELECT work_unit.name AS work_unit, sensor.name AS sensor,
       CASE
           WHEN clock.readings >= 3 AND (clock.least_delay_s < 0 OR clock.mean_delay_s - clock.least_delay_s <= 60)
           THEN -clock.least_delay_s
       END AS skew_s,
       clock.least_delay_s, clock.mean_delay_s, clock.readings, clock.noted_at
FROM sensor_platform.sensor_clock AS clock
JOIN sensor_platform.sensor ON sensor.id = clock.sensor
JOIN sensor_platform.work_unit ON work_unit.id = sensor.work_unit_id;

COMMENT ON VIEW sensor_platform.sensor_skew IS 'How wrong the clock of each sensor was when it was last heard of';
COMMENT ON COLUMN sensor_platform.sensor_skew.skew_s IS
    'seconds that it is ahead of ours, below 0: behind, the way of a message included; null: it cannot be told';
COMMENT ON COLUMN sensor_platform.sensor_skew.least_delay_s IS 'receipt less event time, of the newest hour';
COMMENT ON COLUMN sensor_platform.sensor_skew.noted_at IS 'receipt of the newest message looked at'
