-- Letters are found again by (micro_batch, sequence, ordinal): attempts, exhaustion and discards survive a backfill.
INSERT INTO sensor_platform.dead_letter AS letter
    (micro_batch, sequence, ordinal, stage, code, detail, next_attempt_at)
SELECT micro_batch, sequence, ordinal, stage, code, detail, :next_attempt_at FROM refused
ON CONFLICT (micro_batch, sequence, ordinal) DO UPDATE
SET stage = excluded.stage,
    code = excluded.code,
    detail = excluded.detail,
    state = CASE letter.state WHEN 'resolved' THEN 'pending' ELSE letter.state END,
    next_attempt_at = CASE letter.state WHEN 'resolved' THEN excluded.next_attempt_at ELSE letter.next_attempt_at END,
    closed_at = CASE letter.state WHEN 'resolved' THEN NULL ELSE letter.closed_at END,
    closed_by = CASE letter.state WHEN 'resolved' THEN NULL ELSE letter.closed_by END,
    closed_why = CASE letter.state WHEN 'resolved' THEN NULL ELSE letter.closed_why END
