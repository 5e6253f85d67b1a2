"""reload-model: a Slack slash command that brings an idle ModelsLab model back, and says when."""

__version__ = "0.1.0"
