"""A Slack and a ModelsLab on this machine, and a terminal to talk through them to the real bot.

They are reached over real sockets, as the services are; nothing here imports the bot but `terminal`, which runs it.
Start reading at `terminal/program.py` for `make try`, and at `slack/service.py` for the Slack.
"""
