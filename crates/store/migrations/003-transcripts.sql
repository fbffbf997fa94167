-- What each member's model saw and said, in order; `place` counts from 1. Items are JSON that only the engine reads.
CREATE TABLE transcript (
    member TEXT NOT NULL,
    place INTEGER NOT NULL,
    item TEXT NOT NULL,
    PRIMARY KEY (member, place)
) WITHOUT ROWID, STRICT;
