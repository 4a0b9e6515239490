"""The command ``airflow-ci-emulator``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tencent_ci_emulator import config as defaults
from tencent_ci_emulator.clock import VirtualClock

if TYPE_CHECKING:
    from tencent_ci_emulator.server import Emulator

_DESCRIPTION = """
A local service that speaks Tencent Cloud's COS object calls and CI voice-separation job calls, and
really separates. For trying and testing: it needs no account and sends nothing anywhere.
"""

_EPILOG = """
The first line on standard output is "ready http://HOST:PORT"; logs go to standard error. The status page,
with buckets, jobs and their results to listen to, is http://HOST:PORT/_emulator/.
On the command line every user of this machine can see keys and tokens. The environment variables
AIRFLOW_CI_EMULATOR_SECRET_ID, AIRFLOW_CI_EMULATOR_SECRET_KEY, AIRFLOW_CI_EMULATOR_SECURITY_TOKEN and
AIRFLOW_CI_EMULATOR_ADMIN_TOKEN set them unseen.
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
    except ModuleNotFoundError as error:
        print(
            f"airflow-ci-emulator needs {error.name}: pip install tencent-ci-emulator",
            file=sys.stderr,
        )
        return 2
    except (ValueError, OSError) as error:
        print(f"airflow-ci-emulator: {error}", file=sys.stderr)
        return 2
    try:
        print(f"ready {emulator.url}", flush=True)
        if arguments.admin_token is None:
            print(f"status {emulator.admin_url}, admin token {emulator.admin_token}", file=sys.stderr)
        stop.wait()
    finally:
        emulator.stop()
    return 0


def _emulator(arguments: argparse.Namespace) -> Emulator:
    # the command is there also without the extra, which the server needs
    from tencent_ci_emulator.server import Emulator

    first, *others = arguments.bucket or [defaults.DEMO_BUCKET]
    return Emulator(
        arguments.data_dir,
        bucket=first,
        buckets=others,
        region=arguments.region,
        secret_id=arguments.secret_id,
        secret_key=arguments.secret_key,
        security_token=arguments.security_token,
        admin_token=arguments.admin_token,
        clock=VirtualClock() if arguments.virtual_clock else None,
        faults=arguments.faults,
        allow_remote_callbacks=arguments.allow_remote_callbacks,
        host=arguments.host,
        port=arguments.port,
        queue_seconds=arguments.queue_seconds,
        run_seconds=arguments.run_seconds,
        workers=arguments.workers,
        lenient_cancel=arguments.lenient_cancel,
        queue_max_concurrent=arguments.queue_max_concurrent,
        queue_max_size=arguments.queue_max_size,
        refuse_when_paused=arguments.refuse_when_paused,
        max_templates=arguments.max_templates,
        unbound=arguments.unbound,
        allow_remote=arguments.allow_remote,
    )


def _from_environment(setting: str) -> str | None:
    """Return a setting's environment variable; one that is empty counts as not set."""
    return os.environ.get(defaults.ENVIRONMENT[setting]) or None


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
    add(
        "--secret-id",
        default=_from_environment("secret_id") or defaults.DEMO_SECRET_ID,
        metavar="ID",
        help=f"(default: {defaults.DEMO_SECRET_ID})",
    )
    add(
        "--secret-key",
        default=_from_environment("secret_key") or defaults.DEMO_SECRET_KEY,
        metavar="KEY",
        help=f"(default: {defaults.DEMO_SECRET_KEY})",
    )
    add(
        "--security-token",
        default=_from_environment("security_token"),
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
    add(
        "--allow-remote",
        action="store_true",
        help="allow a --host that other machines can reach; --secret-id and --secret-key must be your own",
    )
    _add_service_options(parser)
    _add_testing_options(parser)
    add(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="(default: %(default)s)",
    )
    return parser


def _add_service_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("queues, templates, services").add_argument
    add(
        "--queue-max-concurrent",
        type=int,
        default=10,
        metavar="N",
        help="jobs of one queue that are Running at once (default: %(default)s)",
    )
    add(
        "--queue-max-size",
        type=int,
        default=10_000,
        metavar="N",
        help="jobs of one queue that may wait; more get 403 QueueSaturated (default: %(default)s)",
    )
    add(
        "--refuse-when-paused",
        action="store_true",
        help="refuse jobs for a paused queue with 403 QueuePaused, instead of holding them in state Pause",
    )
    add(
        "--max-templates",
        type=int,
        default=200,
        metavar="N",
        help="templates that a bucket may have (default: %(default)s)",
    )
    add(
        "--unbound",
        nargs="?",
        const=next(iter(defaults.UNBOUND_CODES)),
        choices=defaults.UNBOUND_CODES,
        metavar="CODE",
        help="leave the services of new buckets closed until POST /asrbucket or /mediabucket opens them;"
        " until then jobs are refused with this code: %(choices)s (default: open; without CODE: %(const)s)",
    )


def _add_testing_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("for tests (docs/emulator.md)").add_argument
    add("--faults", type=Path, metavar="FILE", help="fault plan, a JSON file: what goes wrong, and when")
    add(
        "--admin-token",
        default=_from_environment("admin_token"),
        metavar="TOKEN",
        help="token for the admin path /_emulator/ (default: a random one, printed on standard error)",
    )
    add(
        "--virtual-clock",
        action="store_true",
        help="time stands still until POST /_emulator/clock lets it pass",
    )
    add(
        "--allow-remote-callbacks",
        action="store_true",
        help="send callbacks to other machines, too, not to loopback addresses only",
    )


if __name__ == "__main__":
    sys.exit(main())
