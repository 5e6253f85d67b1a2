"""What people do in Slack: Bolt listeners, one file for each surface. Start with commands.py.

Each file has register(app, ...). Listener middleware reads the payload and checks the allowlist (access.py); what a
listener raises is answered in bolt.py, by the surface's own way to reply. Whatever calls Slack runs after the ack.
Must not know how a request is carried out: bot.worker does that.
"""
