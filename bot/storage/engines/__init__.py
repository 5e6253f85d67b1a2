"""What differs between SQLite and PostgreSQL: engines, connections, and how to fix what doesn't pass by itself."""

BEGAN_AT = "reload_model_began_at"
"""The key of Connection.info for the time when a transaction began: see bot.storage.database.now."""

POSTGRES_CONNECTIONS = 2
"""For each process: one for the worker and one for people's requests, so that neither waits for the other."""
