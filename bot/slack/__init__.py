"""The connection to Slack: requests over HTTP or Socket Mode, and calls of the Web API.

Must not know what is done with a request, or what people read. Start with http.py.
"""
