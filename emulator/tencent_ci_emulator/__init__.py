"""A local service that speaks COS object calls and CI job calls, for trying and testing."""

__version__ = "0.1.0"
