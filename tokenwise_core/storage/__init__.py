"""What every durable store of ours stands on: SQLite handles, a PostgreSQL pool, numbered migrations, a codec."""
