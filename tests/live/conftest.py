"""The fixture of the kit's tests."""

from tests.live.kit import kit

__all__ = ["kit"]
