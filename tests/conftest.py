"""What holds for all tests: properties are never failed for the time that an example takes."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "any-machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")
