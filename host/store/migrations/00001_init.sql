-- Ids are ULIDs as TEXT, times are microseconds since 1970 (NULL: not yet),
-- JSON is TEXT. Order within a run comes from seq, never from a time.
-- +goose Up
CREATE TABLE meta (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE host (
  id         TEXT    NOT NULL PRIMARY KEY,
  pid        INTEGER NOT NULL,
  kind       TEXT    NOT NULL,
  version    TEXT    NOT NULL,
  socket     TEXT    NOT NULL,
  started_at INTEGER NOT NULL
);

CREATE TABLE setting (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE secret (
  name       TEXT    NOT NULL PRIMARY KEY,
  keys       TEXT    NOT NULL,
  ciphertext BLOB    NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE TABLE plugin (
  name TEXT NOT NULL,
  path TEXT NOT NULL,
  data TEXT NOT NULL,
  PRIMARY KEY (name, path)
);

CREATE TABLE component (
  id         TEXT    NOT NULL PRIMARY KEY,
  type       TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  revision   INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE (type, name)
);

CREATE TABLE component_revision (
  component_id   TEXT    NOT NULL REFERENCES component (id) ON DELETE CASCADE,
  revision       INTEGER NOT NULL,
  flavor         TEXT    NOT NULL,
  config         TEXT    NOT NULL,
  schema_version INTEGER NOT NULL,
  plugin_version TEXT    NOT NULL,
  labels         TEXT,
  created_at     INTEGER NOT NULL,
  PRIMARY KEY (component_id, revision)
);

CREATE TABLE stack (
  id         TEXT    NOT NULL PRIMARY KEY,
  name       TEXT    NOT NULL UNIQUE,
  labels     TEXT,
  revision   INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE TABLE stack_component (
  stack_id     TEXT    NOT NULL REFERENCES stack (id) ON DELETE CASCADE,
  component_id TEXT    NOT NULL REFERENCES component (id),
  type         TEXT    NOT NULL,
  position     INTEGER NOT NULL,
  PRIMARY KEY (stack_id, component_id)
);
CREATE INDEX stack_component_component ON stack_component (component_id);
CREATE UNIQUE INDEX stack_component_single ON stack_component (stack_id, type)
  WHERE type IN ('orchestrator', 'artifact-store');

-- A pipeline counts its runs for ever (last_number), so that no name is given
-- twice, and those that are there (runs), so that nobody has to count them.
CREATE TABLE pipeline (
  project     TEXT    NOT NULL,
  name        TEXT    NOT NULL,
  last_number INTEGER NOT NULL,
  runs        INTEGER NOT NULL,
  PRIMARY KEY (project, name)
) WITHOUT ROWID;

CREATE TABLE run (
  id           TEXT    NOT NULL PRIMARY KEY,
  project      TEXT    NOT NULL,
  pipeline     TEXT    NOT NULL,
  name         TEXT    NOT NULL,
  number       INTEGER NOT NULL,
  state        TEXT    NOT NULL,
  owner        TEXT    NOT NULL,
  epoch        INTEGER NOT NULL,
  seq          INTEGER NOT NULL,
  stack        TEXT    NOT NULL,
  labels       TEXT,
  spec_digest  TEXT    NOT NULL,
  resumed_from TEXT    NOT NULL,
  error        TEXT    NOT NULL,
  created_at   INTEGER NOT NULL,
  ended_at     INTEGER,
  UNIQUE (project, name),
  UNIQUE (project, pipeline, number)
);
CREATE INDEX run_project ON run (project, id);
CREATE INDEX run_pipeline ON run (project, pipeline, id);
CREATE INDEX run_state ON run (state, id);
CREATE INDEX run_stack ON run (stack, id);

-- kind: spec, snapshot, recipe, provenance.
CREATE TABLE run_blob (
  run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  kind   TEXT NOT NULL,
  data   TEXT NOT NULL,
  PRIMARY KEY (run_id, kind)
);

CREATE TABLE step_run (
  run_id     TEXT    NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  name       TEXT    NOT NULL,
  position   INTEGER NOT NULL,
  state      TEXT    NOT NULL,
  cached     INTEGER NOT NULL DEFAULT 0,
  attempt    TEXT    NOT NULL DEFAULT '',
  failures   INTEGER NOT NULL DEFAULT 0,
  losses     INTEGER NOT NULL DEFAULT 0,
  error      TEXT    NOT NULL DEFAULT '',
  hint       TEXT    NOT NULL DEFAULT '',
  metrics    TEXT,
  metadata   TEXT,
  parameters TEXT,
  started_at INTEGER,
  ended_at   INTEGER,
  PRIMARY KEY (run_id, name)
) WITHOUT ROWID;

CREATE TABLE attempt (
  run_id      TEXT    NOT NULL,
  step        TEXT    NOT NULL,
  number      INTEGER NOT NULL,
  id          TEXT    NOT NULL UNIQUE,
  state       TEXT    NOT NULL,
  epoch       INTEGER NOT NULL,
  execution   TEXT    NOT NULL,
  incarnation TEXT    NOT NULL,
  not_before  INTEGER,
  error       TEXT    NOT NULL DEFAULT '',
  trace       TEXT    NOT NULL DEFAULT '',
  started_at  INTEGER,
  ended_at    INTEGER,
  PRIMARY KEY (run_id, step, number),
  FOREIGN KEY (run_id, step) REFERENCES step_run (run_id, name) ON DELETE CASCADE
) WITHOUT ROWID;
-- A step is published once, whatever the code above thinks.
CREATE UNIQUE INDEX attempt_published ON attempt (run_id, step) WHERE state = 'completed';

CREATE TABLE content (
  digest TEXT    NOT NULL PRIMARY KEY,
  size   INTEGER NOT NULL,
  tree   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE tree_file (
  tree   TEXT NOT NULL REFERENCES content (digest) ON DELETE CASCADE,
  digest TEXT NOT NULL REFERENCES content (digest),
  PRIMARY KEY (tree, digest)
) WITHOUT ROWID;
CREATE INDEX tree_file_digest ON tree_file (digest);

CREATE TABLE location (
  digest   TEXT NOT NULL REFERENCES content (digest) ON DELETE CASCADE,
  store_id TEXT NOT NULL,
  key      TEXT NOT NULL,
  PRIMARY KEY (digest, store_id, key)
) WITHOUT ROWID;

-- An artifact counts its versions for ever.
CREATE TABLE artifact (
  project      TEXT    NOT NULL,
  name         TEXT    NOT NULL,
  last_version INTEGER NOT NULL,
  PRIMARY KEY (project, name)
) WITHOUT ROWID;

-- run_id is no foreign key: a version stays when its run is deleted.
CREATE TABLE artifact_version (
  id            TEXT    NOT NULL PRIMARY KEY,
  project       TEXT    NOT NULL,
  name          TEXT    NOT NULL,
  version       INTEGER NOT NULL,
  digest        TEXT    NOT NULL REFERENCES content (digest),
  media_type    TEXT    NOT NULL,
  language_type TEXT    NOT NULL,
  run_id        TEXT    NOT NULL,
  step          TEXT    NOT NULL,
  output        TEXT    NOT NULL,
  position      INTEGER NOT NULL,
  metadata      TEXT,
  inline        BLOB,
  created_at    INTEGER NOT NULL,
  UNIQUE (project, name, version),
  UNIQUE (run_id, step, output)
) WITHOUT ROWID;

CREATE TABLE step_input (
  run_id      TEXT NOT NULL,
  step        TEXT NOT NULL,
  input       TEXT NOT NULL,
  artifact_id TEXT REFERENCES artifact_version (id),
  PRIMARY KEY (run_id, step, input),
  FOREIGN KEY (run_id, step) REFERENCES step_run (run_id, name) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX step_input_artifact ON step_input (artifact_id);

CREATE TABLE event (
  run_id  TEXT    NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  seq     INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  kind    TEXT    NOT NULL,
  step    TEXT    NOT NULL,
  attempt TEXT    NOT NULL,
  message TEXT    NOT NULL,
  data    TEXT,
  PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;

-- What another host than the owner asks of a run.
CREATE TABLE intent (
  run_id TEXT    NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  kind   TEXT    NOT NULL,
  host   TEXT    NOT NULL,
  at     INTEGER NOT NULL,
  PRIMARY KEY (run_id, kind)
) WITHOUT ROWID;

-- The ids of the changes that were applied; those of a sealed run are pruned,
-- but for the ones that sealed it.
CREATE TABLE change (
  run_id TEXT NOT NULL REFERENCES run (id) ON DELETE CASCADE,
  id     TEXT NOT NULL,
  PRIMARY KEY (run_id, id)
) WITHOUT ROWID;

-- Marks of commits that hold no change, so that a commit of unknown outcome can
-- be read back. Old ones are deleted by the next.
CREATE TABLE batch (
  id TEXT NOT NULL PRIMARY KEY
) WITHOUT ROWID;

INSERT INTO meta (key, value) VALUES
  ('home_id', '0' || substr(hex(randomblob(13)), 2)),
  ('oldest_schema', '1');

INSERT INTO component (id, type, name, revision, created_at, updated_at)
SELECT id, type, 'default', 1, now, now FROM (
  SELECT 'default-orchestrator' AS id, 'orchestrator' AS type UNION ALL
  SELECT 'default-artifact-store', 'artifact-store'
), (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now);
INSERT INTO component_revision (component_id, revision, flavor, config, schema_version, plugin_version, created_at)
SELECT id, 1, 'local', '{}', 1, '', created_at FROM component;
INSERT INTO stack (id, name, revision, created_at, updated_at)
SELECT 'default', 'default', 1, created_at, created_at FROM component WHERE id = 'default-orchestrator';
INSERT INTO stack_component (stack_id, component_id, type, position)
SELECT 'default', id, type, type = 'artifact-store' FROM component;
