-- kind: breaking
-- What a lookup compares with stands in cache_entry and cache_vector; what only a hit needs, in cache_answer.

CREATE TABLE cache_entry (
  seq INTEGER PRIMARY KEY,
  key BLOB NOT NULL,
  namespace TEXT NOT NULL,
  partition BLOB,
  question BLOB,
  created_at REAL NOT NULL,
  expires_at REAL,
  epochs TEXT,
  capability REAL,
  cost_nano INTEGER,
  hits INTEGER NOT NULL,
  good INTEGER NOT NULL,
  bad INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  application TEXT,
  session TEXT,
  user_name TEXT,
  heat REAL NOT NULL,
  heat_at REAL NOT NULL,
  priority REAL NOT NULL
);
CREATE UNIQUE INDEX cache_entry_key ON cache_entry (key);
-- eviction goes by it; with created_at in it, totals need no look at the rows
CREATE INDEX cache_entry_priority ON cache_entry (namespace, priority, created_at);
CREATE INDEX cache_entry_expiry ON cache_entry (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX cache_entry_application ON cache_entry (application) WHERE application IS NOT NULL;
CREATE INDEX cache_entry_session ON cache_entry (session) WHERE session IS NOT NULL;
CREATE INDEX cache_entry_user ON cache_entry (user_name) WHERE user_name IS NOT NULL;

CREATE TABLE cache_answer (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);

-- half floats; the index holds the rowid too, so that a partition is read in order of seq
CREATE TABLE cache_vector (seq INTEGER PRIMARY KEY, partition BLOB NOT NULL, data BLOB NOT NULL);
CREATE INDEX cache_vector_partition ON cache_vector (partition);

-- the epochs that entries stand under
CREATE TABLE cache_stamp (name TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY (name, epoch, seq)) WITHOUT ROWID;
CREATE INDEX cache_stamp_seq ON cache_stamp (seq);
CREATE TABLE cache_epoch (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;

-- kept equal to the sums over cache_entry; entries up to the seq stale_to are of an older epoch of the namespace
CREATE TABLE cache_namespace (
  name TEXT PRIMARY KEY,
  entries INTEGER NOT NULL,
  semantic INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  hits INTEGER NOT NULL,
  inflation REAL NOT NULL,
  stale_to INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX cache_namespace_empty ON cache_namespace (name) WHERE entries = 0;
CREATE INDEX cache_namespace_stale ON cache_namespace (name) WHERE stale_to > 0;

CREATE TABLE cache_label (n INTEGER PRIMARY KEY, ts REAL NOT NULL, same INTEGER NOT NULL, score REAL,
  source TEXT NOT NULL, features TEXT NOT NULL, embedder TEXT NOT NULL DEFAULT '');

CREATE TABLE cache_hit (n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, application TEXT, session TEXT,
  user_name TEXT, namespace TEXT NOT NULL, body BLOB NOT NULL);

CREATE TABLE cache_state (name TEXT PRIMARY KEY, value TEXT NOT NULL, application TEXT, session TEXT,
  user_name TEXT) WITHOUT ROWID;

-- what a cache counts: lookups, hits, misses by reason
CREATE TABLE cache_tally (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

-- the numbers given last: seq, label, hit, generation
CREATE TABLE cache_counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
