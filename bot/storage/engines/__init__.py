"""What differs between SQLite and PostgreSQL: engines, connections, and how to fix what doesn't pass by itself."""

BEGAN_AT = "reload_model_began_at"
"""The key of Connection.info for the time when a transaction began: see bot.storage.database.now."""
