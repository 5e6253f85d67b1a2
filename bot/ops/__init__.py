"""What operators need: health, the audit, and `check`.

Must not know what happens in the handlers or the worker. Start with health.py.
"""
