"""Finds every remote call of the protocol."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from airflow_provider_ci import protocol
from airflow_provider_ci.protocol.api_request import ApiRequest


def remote_calls() -> list[type[ApiRequest[Any]]]:
    """Return every remote call of the protocol; those that only others build on have no ``purpose``."""
    for module in pkgutil.iter_modules(protocol.__path__, f"{protocol.__name__}."):
        importlib.import_module(module.name)
    found: list[type[ApiRequest[Any]]] = []
    left: list[type[ApiRequest[Any]]] = [ApiRequest]
    while left:
        children = left.pop().__subclasses__()
        left += children
        found += [child for child in children if hasattr(child, "purpose")]
    # dataclass(slots=True) makes a class anew, and the one it was made of may live on for a while
    alive = (getattr(importlib.import_module(each.__module__), each.__name__, None) for each in found)
    # Those of other packages, as the live kit's, are there if another test has imported them. A private one,
    # as the poller's, is a public call that reads less of the response
    of_protocol = (each for each in alive if each and each.__module__.startswith(f"{protocol.__name__}."))
    public = {each for each in of_protocol if not each.__name__.startswith("_")}
    return sorted(public, key=lambda each: each.__qualname__)
