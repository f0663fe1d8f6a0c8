"""The tables of sessions, as numbered SQL files (`storage.migrations`)."""
