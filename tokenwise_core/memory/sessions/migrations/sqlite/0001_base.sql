-- kind: breaking
-- Everything of a session hangs on its number; a log is read by (session, seq), and an item is appended once by its id.

CREATE TABLE memory_session (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  epoch INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  items INTEGER NOT NULL,
  created_at REAL NOT NULL,
  changed_at REAL NOT NULL
);
CREATE INDEX memory_session_changed ON memory_session (changed_at);

CREATE TABLE memory_owner (session INTEGER NOT NULL, application TEXT NOT NULL, user_name TEXT NOT NULL,
  PRIMARY KEY (session, application, user_name)) WITHOUT ROWID;
CREATE INDEX memory_owner_user ON memory_owner (user_name);
CREATE INDEX memory_owner_application ON memory_owner (application);

CREATE TABLE memory_item (session INTEGER NOT NULL, seq INTEGER NOT NULL, id TEXT NOT NULL, at REAL NOT NULL,
  body BLOB NOT NULL);
CREATE UNIQUE INDEX memory_item_seq ON memory_item (session, seq);
CREATE UNIQUE INDEX memory_item_id ON memory_item (session, id);

CREATE TABLE memory_view (session INTEGER PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL);

-- a lease until there is a body, then a summary
CREATE TABLE memory_block (session INTEGER NOT NULL, block TEXT NOT NULL, holder TEXT NOT NULL, until REAL NOT NULL,
  body BLOB);
CREATE UNIQUE INDEX memory_block_name ON memory_block (session, block);

CREATE TABLE memory_original (session INTEGER NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX memory_original_id ON memory_original (session, id);

-- turns that are going on; a session need not exist for one
CREATE TABLE memory_turn (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
