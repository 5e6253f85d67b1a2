"""What operators need: the subcommands that look at the bot from outside.

Must not know what happens in the handlers or the worker. Start with reading.py.
"""
