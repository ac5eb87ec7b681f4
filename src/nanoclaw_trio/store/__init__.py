"""What the engine remembers on the disk: one SQLite database, data/engine.db."""
