"""Checks signatures with the emulator's code, which shares none with the provider's."""

from __future__ import annotations

from collections.abc import Iterable

from tencent_ci_emulator.http.authentication import Signature

Pairs = Iterable[tuple[str, str]]


class Authorization:
    """A parsed ``Authorization`` header; ``start`` and ``end`` are Unix seconds."""

    def __init__(self, text: str) -> None:
        self._signature = Signature.parse(text)
        self.secret_id = self._signature.secret_id
        self.signature = self._signature.digest
        self.header_list = tuple(sorted(self._signature.headers))
        self.url_param_list = tuple(sorted(self._signature.params))
        self.start, self.end = map(int, self._signature.period.split(";"))

    def fits(self, method: str, path: str, params: Pairs, headers: Pairs, *, secret_key: str) -> bool:
        """Tell whether this is the signature of a request, of whose parameters and headers it names some."""
        return self._signature.matches(method, path, params, headers, secret_key=secret_key)
