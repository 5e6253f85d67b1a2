"""What people do in Slack: Bolt listeners, one file for each surface. Start with commands.py.

Each file has register(app, ...). Listener middleware reads the payload and asks the allowlist (access.py); whatever a
listener raises is answered in errors.py; whatever calls Slack runs after the ack (replies.py).
Must not know how a request is carried out: bot.worker does that.
"""
