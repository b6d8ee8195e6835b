-- Actions, packages, triggers and rules, as OpenWhisk's documents. Names are
-- compared by their bytes, whatever the database's own collation.
CREATE TABLE entities (
    name text COLLATE "C" PRIMARY KEY,      -- ns/[pkg/]name
    collection smallint NOT NULL,           -- 0 actions, 1 packages, 2 triggers, 3 rules
    revision bigint NOT NULL,
    code bytea,                             -- the hash of attached code
    document text NOT NULL
);
CREATE INDEX entities_by_code ON entities (code) WHERE code IS NOT NULL;

-- What no revision of a name ever shares with another.
CREATE SEQUENCE revisions;

-- What can be listed, in order.
CREATE TABLE listed (
    path text COLLATE "C" NOT NULL,         -- ns or ns/pkg
    collection smallint NOT NULL,           -- as above, and 4 public packages
    updated bigint NOT NULL,                -- ms
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (path, collection, updated, name)
);
CREATE INDEX listed_by_name ON listed (name);

-- Code, once for all actions that share it. Most is base64 of what is packed
-- already, so that nobody should try to press it again.
CREATE TABLE code (
    hash bytea PRIMARY KEY,                 -- SHA-256 of the text
    text bytea NOT NULL                     -- UTF-8, which may hold NUL
);
ALTER TABLE code ALTER COLUMN text SET STORAGE EXTERNAL;

-- Every record's id: the first record under it is the one that is kept.
CREATE TABLE activation_ids (
    id uuid PRIMARY KEY,
    start bigint NOT NULL
);
CREATE INDEX activation_ids_by_start ON activation_ids USING brin (start);

-- Records, a table for each day on which some started.
CREATE TABLE activations (
    id uuid NOT NULL,
    start bigint NOT NULL,                  -- ms
    namespace text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,       -- ns/[pkg/]name, as filters name it
    head text NOT NULL,                     -- the record without its result and logs
    result text,                            -- JSON, as the function wrote it
    logs text NOT NULL,                     -- a JSON array
    PRIMARY KEY (start, id)
) PARTITION BY RANGE (start);
CREATE INDEX activations_by_namespace ON activations (namespace, start, id);
CREATE INDEX activations_by_action ON activations (action, start, id);

-- Those of days that have no table, as of clocks that are far off.
CREATE TABLE activations_other PARTITION OF activations DEFAULT;

-- How many records each day has: the sum of what each batch added and each
-- step of retention took away. Batches add rows of their own, since a row that
-- all of them change would have them wait for each other.
CREATE TABLE tallies (
    day bigint NOT NULL,
    records bigint NOT NULL
);

-- Who may authenticate, and as what. Names of subjects and uuids may hold NUL.
CREATE TABLE subjects (
    name bytea PRIMARY KEY,
    document text NOT NULL
);
CREATE TABLE namespaces (
    name text COLLATE "C" PRIMARY KEY,
    uuid bytea NOT NULL UNIQUE,
    subject bytea NOT NULL REFERENCES subjects ON DELETE CASCADE
);
CREATE INDEX namespaces_by_subject ON namespaces (subject);
CREATE TABLE limits (
    namespace text COLLATE "C" PRIMARY KEY,
    document text NOT NULL
);
