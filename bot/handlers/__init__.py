"""What people do in Slack: Bolt listeners, one file for each surface. Start with commands.py.

Each surface has a function that registers its listeners. Listener middleware reads the payload and checks the
allowlist (access.py). If a listener raises an error, bolt.py answers in the way of that surface. Calls to Slack run
after the ack.
Must not know how a request is carried out: bot.worker does that.
"""
