"""reload-model: a Slack bot that reloads an idle ModelsLab model, and pings people when it should be ready."""

__version__ = "0.1.0"
