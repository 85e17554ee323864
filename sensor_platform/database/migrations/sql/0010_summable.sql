-- PostgreSQL refuses to overflow and to underflow, and one value would fail every series: 10^18 readings of 1e290 have a
-- sum that a double precision holds, and of 1e-280 a mean. Null stays null, NaN stays NaN.
CREATE FUNCTION sensor_platform.summable(value double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN abs(value) < 1e-280 THEN 0
    WHEN abs(value) > 1e290 THEN sign(value) * double precision 'Infinity'
    ELSE value
END;

COMMENT ON FUNCTION sensor_platform.summable IS
    'The value; infinite, or 0, where its size is beyond what sums, and means, of many can hold';
