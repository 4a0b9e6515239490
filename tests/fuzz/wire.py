"""A server on loopback that keeps the bytes it is sent, answers with given bytes, and hangs up."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType

from tests.patience import PATIENCE

_LENGTH = re.compile(rb"^content-length: *([0-9]{1,9})\r?$", re.IGNORECASE | re.MULTILINE)


class RawServer:
    """Use it in ``with``. ``answer`` gives what is answered in pieces; ``received`` are whole requests."""

    def __init__(self) -> None:
        self.answer: Callable[[], Iterable[bytes]] = lambda: (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        )
        self.received: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopped = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> RawServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            pass
        self._thread.join(PATIENCE)
        self._listener.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while not self._stopped:
            connection, _ = self._listener.accept()
            connection.settimeout(PATIENCE)
            with connection, suppress(OSError):
                self.received.append(self._request(connection))
                for piece in self.answer():
                    connection.sendall(piece)

    def _request(self, connection: socket.socket) -> bytes:
        data = b""
        while not self._is_whole(data):
            piece = connection.recv(65536)
            if not piece:
                raise ConnectionError
            data += piece
        return data

    @staticmethod
    def _is_whole(data: bytes) -> bool:
        head, end, body = data.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        return bool(end) and len(body) >= (int(length[1]) if length else 0)
