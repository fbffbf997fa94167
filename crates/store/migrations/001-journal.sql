-- What the team is: 'team', 'name', 'project', and 'snapshot_revision' once there is a snapshot.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- Everything that ever happened; never trimmed.
CREATE TABLE journal (
    revision INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,             -- Unix time in milliseconds, for display
    tick INTEGER NOT NULL,           -- CLOCK_MONOTONIC in milliseconds, of the boot of that time
    parties TEXT,                    -- of a message alone: '|sender|recipient|recipient|'
    message_before INTEGER NOT NULL, -- revision of the newest message before this, or 0: lists messages, and costs
                                     -- an insert nothing, where an index would double it
    event TEXT NOT NULL,             -- JSON
    call TEXT                        -- JSON: the call that this event completed
) STRICT;

-- The shortest list of records that rebuilds the state at 'snapshot_revision'.
CREATE TABLE snapshot (
    place INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    event TEXT NOT NULL,
    call TEXT
) STRICT;

-- Completed tasks, which the supervisor no longer has in memory, as they are shown (JSON).
CREATE TABLE archive (
    task INTEGER PRIMARY KEY,
    view TEXT NOT NULL
) STRICT;
