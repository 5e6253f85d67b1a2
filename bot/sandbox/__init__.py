"""A Slack and a ModelsLab on this machine, and a terminal to talk through them to the real bot.

Nothing here knows how the bot works: it is reached over sockets only, as the services reach it.
"""
