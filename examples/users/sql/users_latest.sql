-- The users of each member's last reading; of a user that two pages have, the later page's.
CREATE TABLE IF NOT EXISTS users_latest (
    member text NOT NULL,
    id bigint NOT NULL,
    name text NOT NULL,
    email text,
    teams jsonb NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (member, id)
);
DELETE FROM users_latest;
INSERT INTO users_latest
SELECT DISTINCT ON (member, id) member, u.*
FROM (SELECT *, max(seen_at) OVER (PARTITION BY member) AS last_seen_at FROM users_raw) AS raw,
    jsonb_to_recordset(users) AS u (id bigint, name text, email text, teams jsonb, updated_at timestamptz)
WHERE seen_at = last_seen_at
ORDER BY member, id, page DESC;
