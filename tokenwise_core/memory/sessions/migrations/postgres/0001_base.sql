-- kind: breaking
-- Everything of a session hangs on its number; a log is read by (session, seq), and an item is appended once by its id.

CREATE TABLE memory_session (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  epoch BIGINT NOT NULL,
  last_seq BIGINT NOT NULL,
  items BIGINT NOT NULL,
  created_at DOUBLE PRECISION NOT NULL,
  changed_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX memory_session_changed ON memory_session (changed_at);

CREATE TABLE memory_owner (session BIGINT NOT NULL, application TEXT NOT NULL, user_name TEXT NOT NULL,
  PRIMARY KEY (session, application, user_name));
CREATE INDEX memory_owner_user ON memory_owner (user_name);
CREATE INDEX memory_owner_application ON memory_owner (application);

CREATE TABLE memory_item (session BIGINT NOT NULL, seq BIGINT NOT NULL, id TEXT NOT NULL, at DOUBLE PRECISION NOT NULL,
  body BYTEA NOT NULL);
CREATE UNIQUE INDEX memory_item_seq ON memory_item (session, seq);
CREATE UNIQUE INDEX memory_item_id ON memory_item (session, id);

CREATE TABLE memory_view (session BIGINT PRIMARY KEY, version BIGINT NOT NULL, body BYTEA NOT NULL);

-- a lease until there is a body, then a summary
CREATE TABLE memory_block (session BIGINT NOT NULL, block TEXT NOT NULL, holder TEXT NOT NULL, until DOUBLE PRECISION NOT NULL,
  body BYTEA);
CREATE UNIQUE INDEX memory_block_name ON memory_block (session, block);

CREATE TABLE memory_original (session BIGINT NOT NULL, id TEXT NOT NULL, body BYTEA NOT NULL);
CREATE UNIQUE INDEX memory_original_id ON memory_original (session, id);

-- turns that are going on; a session need not exist for one; unlogged, so that nobody waits for the disk
CREATE UNLOGGED TABLE memory_turn (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until DOUBLE PRECISION NOT NULL);
