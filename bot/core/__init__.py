"""The domain: what a reload is, who can request one, how a command is read, when something is tried again.

Pure: no Slack, no HTTP, no SQL. Start with models.py.
"""
