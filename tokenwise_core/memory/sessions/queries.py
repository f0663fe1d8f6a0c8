"""The statements of the SQL stores of sessions that are more than a line."""

from __future__ import annotations

READ = """
SELECT i.seq, i.id, i.at, i.body FROM memory_session s JOIN memory_item i ON i.session = s.id
WHERE s.name = ? AND i.seq > ? ORDER BY i.seq
"""
CHANGES = """
SELECT s.epoch, s.last_seq, i.seq, i.id, i.at, i.body FROM memory_session s
LEFT JOIN memory_item i
  ON i.session = s.id AND i.seq > CASE WHEN s.epoch = CAST(? AS BIGINT) THEN CAST(? AS BIGINT) ELSE 0 END
WHERE s.name = ? ORDER BY i.seq
"""
"""One statement, so that the epoch and the rows are of one moment."""

NEW_SESSION = """
INSERT INTO memory_session (name, epoch, last_seq, items, created_at, changed_at) VALUES (?, ?, 0, 0, ?, ?)
ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id, epoch, last_seq
"""
"""Where another was quicker, its row is locked and returned."""

VIEW = "SELECT v.version, v.body FROM memory_session s JOIN memory_view v ON v.session = s.id WHERE s.name = ?"
NEW_VIEW = "INSERT INTO memory_view (session, version, body) VALUES (?, 1, ?) ON CONFLICT (session) DO NOTHING"
NEXT_VIEW = "UPDATE memory_view SET version = version + 1, body = ? WHERE session = ? AND version = ?"

LEASE = """
INSERT INTO memory_block (session, block, holder, until) VALUES (?, ?, ?, ?)
ON CONFLICT (session, block) DO UPDATE SET holder = excluded.holder, until = excluded.until
WHERE memory_block.body IS NULL AND (memory_block.until <= ? OR memory_block.holder = excluded.holder)
"""
SUMMARY = "SELECT body FROM memory_block WHERE session = ? AND block = ? AND body IS NOT NULL"
FINISH = """
UPDATE memory_block SET holder = ?, body = ?
WHERE session = ? AND block = ? AND body IS NULL AND (holder = ? OR until <= ?)
"""
RESULTS = """
SELECT b.block, b.body FROM memory_session s JOIN memory_block b ON b.session = s.id
WHERE s.name = ? AND b.body IS NOT NULL
"""
KEEP = """
INSERT INTO memory_original (session, id, body) VALUES (?, ?, ?)
ON CONFLICT (session, id) DO UPDATE SET body = excluded.body
"""
ORIGINAL = (
    "SELECT o.body FROM memory_session s JOIN memory_original o ON o.session = s.id WHERE s.name = ? AND o.id = ?"
)

TURN = """
INSERT INTO memory_turn (name, holder, until) VALUES (?, ?, ?)
ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE memory_turn.until <= ?
"""

LIST = """
SELECT s.id, s.name, s.items, s.created_at, s.changed_at,
  (SELECT count(*) FROM memory_block b WHERE b.session = s.id AND b.body IS NOT NULL),
  (SELECT count(*) FROM memory_original o WHERE o.session = s.id)
FROM memory_session s ORDER BY s.changed_at DESC, s.name{collation} LIMIT ? OFFSET ?
"""
STATS = """
SELECT (SELECT count(*) FROM memory_session),
  (SELECT count(*) FROM memory_item),
  (SELECT count(*) FROM memory_block WHERE body IS NULL),
  (SELECT count(*) FROM memory_block WHERE body IS NOT NULL),
  (SELECT count(*) FROM memory_original),
  (SELECT coalesce(sum(length(body)), 0) FROM memory_item)
    + (SELECT coalesce(sum(length(body)), 0) FROM memory_view)
    + (SELECT coalesce(sum(length(body)), 0) FROM memory_block)
    + (SELECT coalesce(sum(length(body)), 0) FROM memory_original)
"""
