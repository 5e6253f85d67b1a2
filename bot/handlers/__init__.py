"""What people do in Slack, one file for each surface. Start with commands.py."""
