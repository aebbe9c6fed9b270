-- Times are milliseconds since 1970, UTC.

CREATE TABLE sessions (
    id           TEXT PRIMARY KEY,
    bot          TEXT NOT NULL,
    client       TEXT NOT NULL,
    subject      TEXT NOT NULL,
    conversation TEXT NOT NULL,
    source       TEXT,
    contact      TEXT,
    origin       TEXT,
    address      TEXT,
    opened       INTEGER NOT NULL,
    expires      INTEGER NOT NULL,
    ends         INTEGER NOT NULL,
    -- When it was revoked by its id; whether its contact or bot was is in `revocations`.
    ended        INTEGER,
    known        TEXT,
    ends_earlier INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_time ON sessions (opened, id);
CREATE INDEX sessions_by_bot ON sessions (bot, opened, id);
CREATE INDEX sessions_by_contact ON sessions (subject, opened, id);
-- What caps count.
CREATE INDEX sessions_live_by_contact ON sessions (subject, bot, expires);
CREATE INDEX sessions_live_by_address ON sessions (address, bot, expires);
CREATE INDEX sessions_by_end ON sessions (ends);
CREATE INDEX sessions_by_revocation ON sessions (ended) WHERE ended IS NOT NULL;

-- What is revoked: scope is session, contact or bot. Contacts and bots: sessions opened at `at` or before.
CREATE TABLE revocations (
    scope  TEXT NOT NULL,
    name   TEXT NOT NULL,
    number INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    until  INTEGER NOT NULL,
    PRIMARY KEY (scope, name)
) WITHOUT ROWID;
CREATE INDEX revocations_by_end ON revocations (until);

-- The log: kind is session, contact, bot or recognised. AUTOINCREMENT: a number is never given twice.
CREATE TABLE changes (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    digest       TEXT,
    subject      TEXT,
    ends_earlier INTEGER,
    at           INTEGER NOT NULL,
    until        INTEGER NOT NULL
);
CREATE INDEX changes_by_end ON changes (until);

-- Calls that are made once; the answer is sealed, and absent while the call is in flight.
CREATE TABLE answers (
    key     TEXT PRIMARY KEY,
    digest  TEXT NOT NULL,
    answer  BLOB,
    expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_by_end ON answers (expires);
