"""`reload-model-bot check`: is everything set up? Nothing is changed. Start with check.py."""
