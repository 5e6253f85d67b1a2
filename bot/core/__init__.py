"""The domain: what a reload is, who may ask for one, how a command is read, when something is tried again.

Pure: no Slack, no HTTP, no SQL. Start with models.py.
"""
