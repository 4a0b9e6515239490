"""A local service that speaks COS object calls and CI job calls, for trying and testing."""
