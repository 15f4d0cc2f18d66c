-- A session as format 1 wrote it. Never to be changed: it proves that old files open.
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL,
  parent TEXT NOT NULL);
CREATE TABLE messages (
  session TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (session, number));
CREATE TABLE views (
  session TEXT NOT NULL, covers INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (session, covers));
CREATE TABLE sources (
  session TEXT NOT NULL, marker INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (session, marker));
CREATE TABLE drafts (session TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX drafts_of_session ON drafts (session);
CREATE TABLE pending (session TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE VIRTUAL TABLE full_text USING fts5 (
  terms, session UNINDEXED, number UNINDEXED, tokenize = "unicode61 tokenchars '.'");
INSERT INTO sessions VALUES ('20261122-061116-ef9c75', 'corpus', '2026-11-22T06:11:16.924+00:00', '2026-11-22T06:11:16.926+00:00', '');
INSERT INTO messages VALUES ('20261122-061116-ef9c75', 0, '{"role": "user", "content": "Which colour?"}', '2026-11-22T06:11:16.926+00:00');
INSERT INTO messages VALUES ('20261122-061116-ef9c75', 1, '{"role": "assistant", "content": "", "tool_calls": [{"id": "1", "name": "search_knowledge", "arguments": {"query": "sky"}}]}', '2026-11-22T06:11:16.926+00:00');
INSERT INTO messages VALUES ('20261122-061116-ef9c75', 2, '{"role": "tool", "content": "<passage>", "tool_call_id": "1"}', '2026-11-22T06:11:16.926+00:00');
INSERT INTO messages VALUES ('20261122-061116-ef9c75', 3, '{"role": "assistant", "content": "蓝色 [1]。"}', '2026-11-22T06:11:16.926+00:00');
INSERT INTO sources VALUES ('20261122-061116-ef9c75', 1, '{"id": "c1", "document_id": "d1", "source": "notes/a.md", "title": "A", "heading": "A > B", "text": "Sky is blue.", "start": 3, "end": 15, "page": 2, "part": "page 2"}');
INSERT INTO full_text VALUES ('which colour', '20261122-061116-ef9c75', 0);
INSERT INTO full_text VALUES ('蓝色 1', '20261122-061116-ef9c75', 3);
PRAGMA user_version = 1;
