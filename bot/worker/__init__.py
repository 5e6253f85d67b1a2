"""What happens after a request was acknowledged: jobs are claimed, run and recorded. Start with loop.py."""
