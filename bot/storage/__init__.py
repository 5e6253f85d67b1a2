"""The rows: every request is stored here before it is acknowledged.

Must not know Slack, ModelsLab or what people read. Start with schema.py, then requests.py.
"""
