"""The command ``airflow-ci-emulator``."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from airflow_provider_ci.emulator import config as defaults
from airflow_provider_ci.emulator.server import Emulator

_DESCRIPTION = """
A local service that speaks Tencent Cloud's COS object calls and CI voice-separation job calls, and
really separates. For trying and testing: it needs no account and sends nothing anywhere.
"""

_EPILOG = """
The first line on standard output is "ready http://HOST:PORT"; logs go to standard error.
SIGTERM or SIGINT (Ctrl-C) stops the emulator with exit status 0. Errors at the start give status 2.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the emulator until SIGTERM or SIGINT; return the exit status: 0, or 2 if it cannot be started."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.getLevelNamesMapping()[arguments.log_level.upper()],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        emulator = _emulator(arguments).start()
    except (ValueError, OSError) as error:
        print(f"airflow-ci-emulator: {error}", file=sys.stderr)
        return 2
    try:
        print(f"ready {emulator.url}", flush=True)
        stop.wait()
    finally:
        emulator.stop()
    return 0


def _emulator(arguments: argparse.Namespace) -> Emulator:
    first, *others = arguments.bucket or [defaults.DEMO_BUCKET]
    return Emulator(
        arguments.data_dir,
        bucket=first,
        buckets=others,
        region=arguments.region,
        secret_id=arguments.secret_id,
        secret_key=arguments.secret_key,
        security_token=arguments.security_token,
        host=arguments.host,
        port=arguments.port,
        queue_seconds=arguments.queue_seconds,
        run_seconds=arguments.run_seconds,
        workers=arguments.workers,
        lenient_cancel=arguments.lenient_cancel,
        allow_remote=arguments.allow_remote,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="airflow-ci-emulator",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="keep objects and jobs here (default: a temporary folder)",
    )
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="TCP port, 0 for a free one (default: %(default)s)")
    add(
        "--bucket",
        action="append",
        metavar="NAME-APPID",
        help="a bucket that exists; may be repeated, requests that name none mean the first"
        f" (default: {defaults.DEMO_BUCKET})",
    )
    add("--region", default=defaults.DEMO_REGION, help="region of all buckets (default: %(default)s)")
    add("--secret-id", default=defaults.DEMO_SECRET_ID, metavar="ID", help="(default: %(default)s)")
    add("--secret-key", default=defaults.DEMO_SECRET_KEY, metavar="KEY", help="(default: %(default)s)")
    add(
        "--security-token",
        metavar="TOKEN",
        help="demand this token, as with temporary credentials (default: none)",
    )
    add(
        "--queue-seconds",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="least time a job stays Submitted (default: %(default)g)",
    )
    add(
        "--run-seconds",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="least time a job stays Running (default: %(default)g, as long as the work takes)",
    )
    add("--workers", type=int, default=2, help="recordings processed at once (default: %(default)s)")
    add(
        "--lenient-cancel",
        action="store_true",
        help="answer 200 without effect, not an error, when a job cannot be cancelled any more",
    )
    add("--allow-remote", action="store_true", help="allow a --host that other machines can reach")
    add(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="(default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
