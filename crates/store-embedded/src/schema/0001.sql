-- Actions, packages, triggers and rules, as OpenWhisk's documents.
CREATE TABLE entities (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,      -- ns/[pkg/]name
    collection INTEGER NOT NULL,    -- 0 actions, 1 packages, 2 triggers, 3 rules
    revision INTEGER NOT NULL,
    code BLOB,                      -- the hash of attached code
    document TEXT NOT NULL
);
CREATE INDEX entities_by_code ON entities (code) WHERE code IS NOT NULL;

-- One row: the last revision that was given away.
CREATE TABLE revisions (last INTEGER NOT NULL);
INSERT INTO revisions VALUES (0);

-- Code, once for all actions that share it, in pieces.
CREATE TABLE code (
    hash BLOB NOT NULL,             -- SHA-256 of the whole text
    number INTEGER NOT NULL,        -- from 0
    piece BLOB NOT NULL,            -- 1 MB of UTF-8, the last one less
    UNIQUE (hash, number)
);

-- Code that is being uploaded: without an action it goes at the next start.
CREATE TABLE staged (
    hash BLOB PRIMARY KEY
) WITHOUT ROWID;

-- What can be listed, with its length; and which entities are in it, in order.
CREATE TABLE lists (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,             -- ns or ns/pkg
    collection INTEGER NOT NULL,    -- as above, and 4 public packages
    length INTEGER NOT NULL,
    UNIQUE (path, collection)
);
CREATE TABLE listed (
    list INTEGER NOT NULL,
    updated INTEGER NOT NULL,       -- ms
    name TEXT NOT NULL,
    entity INTEGER NOT NULL,
    PRIMARY KEY (list, updated, name)
) WITHOUT ROWID;
CREATE INDEX listed_by_entity ON listed (entity);

-- What records are counted by: '' all, ns a namespace, ns/[pkg/]name an action.
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    length INTEGER NOT NULL
);

-- What may be large stands last: SQLite does not read a row further than asked.
CREATE TABLE activations (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,        -- 16 bytes
    start INTEGER NOT NULL,         -- ms
    namespace INTEGER NOT NULL,     -- a series
    action INTEGER NOT NULL,        -- a series
    head TEXT NOT NULL,             -- the record without its result and logs
    result TEXT,                    -- JSON, as the function wrote it
    logs TEXT NOT NULL              -- a JSON array
);
CREATE INDEX activations_by_age ON activations (start, id);
CREATE INDEX activations_by_namespace ON activations (namespace, start, id);
CREATE INDEX activations_by_action ON activations (action, start, id);

-- Who may authenticate, and as what.
CREATE TABLE subjects (
    name TEXT PRIMARY KEY,
    document TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE namespaces (
    name TEXT PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    subject TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX namespaces_by_subject ON namespaces (subject);
CREATE TABLE limits (
    namespace TEXT PRIMARY KEY,
    document TEXT NOT NULL
) WITHOUT ROWID;
