"""The emulator as a process of its own, which may be killed, and a client that keeps its connection."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from lxml import etree

from airflow_provider_ci.protocol.signing import sign
from tencent_ci_emulator.config import DEMO_BUCKET, DEMO_REGION, DEMO_SECRET_ID, DEMO_SECRET_KEY
from tests.patience import PATIENCE

TOKEN = "the-admin-token-of-the-tests"
NO_ANSWER = (http.client.HTTPException, ConnectionError, TimeoutError)


class EmulatorProcess:
    """``airflow-ci-emulator`` on a data folder; ``log`` is a file for its standard error."""

    def __init__(self, folder: Path, *options: str, log: Path | None = None) -> None:
        self._log = log
        self._command = [
            *(sys.executable, "-m", "tencent_ci_emulator", "--data-dir", str(folder)),
            *("--admin-token", TOKEN, "--log-level", "warning", *options),
        ]

    def __enter__(self) -> EmulatorProcess:
        with self._log.open("ab") if self._log is not None else nullcontext() as log:
            self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:"), line
        self.port = int(line.rpartition(":")[2])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self._end()

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self._end()

    def memory(self, name: str = "VmRSS") -> int:
        """Bytes in memory now, or at most so far with ``VmHWM``."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise KeyError(name)

    def _end(self) -> None:
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Client:
    """Signed requests over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._host = f"127.0.0.1:{port}"

    def close(self) -> None:
        self._connection.close()

    def send(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, *, size: int | None = None
    ) -> http.client.HTTPResponse:
        """Return the answer, unread. A body that comes in parts needs its ``size``."""
        now = int(time.time())
        authorization = sign(
            *(method, path, (), [("host", self._host)]),
            secret_id=DEMO_SECRET_ID,
            secret_key=DEMO_SECRET_KEY,
            key_time=(now - 60, now + 900),
        )
        headers = {"Host": self._host, "Authorization": authorization}
        if size is not None:
            headers["Content-Length"] = str(size)
        self._connection.request(method, quote(path, safe="/,"), body, headers)
        return self._connection.getresponse()

    def __call__(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        response = self.send(method, path, body)
        return response.status, response.read()

    def submit(self, key: str, user_data: str) -> str:
        """Submit a job and return its id; its results get names of their own."""
        status, answer = self("POST", "/jobs", job(key, user_data))
        assert status == 200, answer
        return etree.fromstring(answer).findtext("JobsDetail/JobId") or ""

    def describe(self, job_ids: list[str]) -> tuple[list[etree._Element], list[str]]:
        """Return the jobs and the ids that are not known, asking for ten at once."""
        found: list[etree._Element] = []
        unknown: list[str] = []
        for start in range(0, len(job_ids), 10):
            status, answer = self("GET", f"/jobs/{','.join(job_ids[start : start + 10])}")
            assert status == 200, answer
            root = etree.fromstring(answer)
            found += root.findall("JobsDetail")
            unknown += [one.text or "" for one in root.findall("NonExistJobIds")]
        return found, unknown


def job(key: str, user_data: str) -> bytes:
    return f"""<Request><Tag>VoiceSeparate</Tag><Input><Object>{key}</Object></Input><Operation>
    <VoiceSeparate><AudioMode>IsAudio</AudioMode><AudioConfig><Codec>wav</Codec></AudioConfig></VoiceSeparate>
    <Output><Region>{DEMO_REGION}</Region><Bucket>{DEMO_BUCKET}</Bucket>
    <AuObject>out/${{jobid}}.${{ext}}</AuObject></Output><UserData>{user_data}</UserData>
    </Operation></Request>""".encode()


def short_wav(path: Path, seconds: float = 0.1) -> bytes:
    """A short stereo recording of silence with a click."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x10\x20\x30\x10" + bytes(4 * int(8000 * seconds)))
    return path.read_bytes()
