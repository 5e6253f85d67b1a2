"""What holds for every test."""

from hypothesis import settings

# A machine that is busy makes an example slow, not wrong.
settings.register_profile("reload-model", deadline=None)
settings.load_profile("reload-model")
