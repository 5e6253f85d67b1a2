"""A Slack on this machine. Start with service.py."""
