"""The wire to Slack: what comes in by HTTP or Socket Mode, and calls of the Web API.

Must not know what is done with it, or what people read. Start with http.py.
"""
