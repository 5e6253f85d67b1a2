"""What differs between SQLite and PostgreSQL: how to connect, and how to fix what doesn't pass by itself."""
