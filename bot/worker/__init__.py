"""What happens after a request is acknowledged: jobs are claimed, run and recorded. Start with loop.py."""
