"""What people read: every sentence, block and view. Pure. Start with messages.py."""
