"""The connection to ModelsLab: the Reload Model API, and the lists of models. Start with client.py."""
