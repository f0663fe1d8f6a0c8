-- kind: breaking
-- What a lookup compares with stands in cache_entry and cache_vector; what only a hit needs, in cache_answer.

CREATE TABLE cache_entry (
  seq BIGINT PRIMARY KEY,
  key BYTEA NOT NULL,
  namespace TEXT NOT NULL,
  partition BYTEA,
  question BYTEA,
  created_at DOUBLE PRECISION NOT NULL,
  expires_at DOUBLE PRECISION,
  epochs TEXT,
  capability DOUBLE PRECISION,
  cost_nano BIGINT,
  hits BIGINT NOT NULL,
  good BIGINT NOT NULL,
  bad BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  application TEXT,
  session TEXT,
  user_name TEXT,
  heat DOUBLE PRECISION NOT NULL,
  heat_at DOUBLE PRECISION NOT NULL,
  priority DOUBLE PRECISION NOT NULL
);
CREATE UNIQUE INDEX cache_entry_key ON cache_entry (key);
-- eviction goes by it; with created_at in it, totals need no look at the rows
CREATE INDEX cache_entry_priority ON cache_entry (namespace, priority, created_at);
CREATE INDEX cache_entry_expiry ON cache_entry (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX cache_entry_application ON cache_entry (application) WHERE application IS NOT NULL;
CREATE INDEX cache_entry_session ON cache_entry (session) WHERE session IS NOT NULL;
CREATE INDEX cache_entry_user ON cache_entry (user_name) WHERE user_name IS NOT NULL;

CREATE TABLE cache_answer (seq BIGINT PRIMARY KEY, body BYTEA NOT NULL);

-- a partition is compared with row by row through the first index, until it is large enough for one of its own
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE cache_vector (seq BIGINT PRIMARY KEY, partition BYTEA NOT NULL, data vector NOT NULL);
CREATE INDEX cache_vector_partition ON cache_vector (partition, seq);

-- the epochs that entries stand under
CREATE TABLE cache_stamp (name TEXT NOT NULL, epoch BIGINT NOT NULL, seq BIGINT NOT NULL,
  PRIMARY KEY (name, epoch, seq));
CREATE INDEX cache_stamp_seq ON cache_stamp (seq);
CREATE TABLE cache_epoch (name TEXT PRIMARY KEY, epoch BIGINT NOT NULL);

-- kept equal to the sums over cache_entry; entries up to the seq stale_to are of an older epoch of the namespace
CREATE TABLE cache_namespace (
  name TEXT PRIMARY KEY,
  entries BIGINT NOT NULL,
  semantic BIGINT NOT NULL,
  bytes BIGINT NOT NULL,
  hits BIGINT NOT NULL,
  inflation DOUBLE PRECISION NOT NULL,
  stale_to BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX cache_namespace_empty ON cache_namespace (name) WHERE entries = 0;
CREATE INDEX cache_namespace_stale ON cache_namespace (name) WHERE stale_to > 0;

CREATE TABLE cache_label (n BIGINT PRIMARY KEY, ts DOUBLE PRECISION NOT NULL, same BIGINT NOT NULL, score DOUBLE PRECISION,
  source TEXT NOT NULL, features TEXT NOT NULL, embedder TEXT NOT NULL DEFAULT '');

CREATE TABLE cache_hit (n BIGINT PRIMARY KEY, id TEXT NOT NULL UNIQUE, application TEXT, session TEXT,
  user_name TEXT, namespace TEXT NOT NULL, body BYTEA NOT NULL);

CREATE TABLE cache_state (name TEXT PRIMARY KEY, value TEXT NOT NULL, application TEXT, session TEXT,
  user_name TEXT);

-- what a cache counts: lookups, hits, misses by reason
CREATE TABLE cache_tally (name TEXT PRIMARY KEY, value BIGINT NOT NULL);

-- the numbers given last: seq, label, hit, generation
CREATE TABLE cache_counter (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
