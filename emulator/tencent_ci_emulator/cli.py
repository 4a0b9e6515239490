"""The command ``airflow-ci-emulator``."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tencent_ci_emulator import config
from tencent_ci_emulator.clock import VirtualClock

if TYPE_CHECKING:
    from tencent_ci_emulator.server import Emulator

_DESCRIPTION = """
A local service with the object calls of Tencent Cloud's COS and the job calls of Cloud Infinite (CI), which
really separates voices. For trying and testing: it needs no account and sends nothing anywhere.
"""

_EPILOG = """
The first line on standard output is "ready http://HOST:PORT"; logs go to standard error. The status page,
with buckets, jobs and their results to listen to, is http://HOST:PORT/_emulator/.
Every user of this machine can see keys and tokens on a command line, but not in the environment variables
AIRFLOW_CI_EMULATOR_SECRET_ID, AIRFLOW_CI_EMULATOR_SECRET_KEY, AIRFLOW_CI_EMULATOR_SECURITY_TOKEN and
AIRFLOW_CI_EMULATOR_ADMIN_TOKEN.
SIGTERM or SIGINT (Ctrl-C) stops the emulator with exit status 0. An error at the start ends it with status 2.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the emulator until SIGTERM or SIGINT; return the exit status: 0, or 2 if it cannot be started."""
    arguments = _make_parser().parse_args(argv)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.getLevelNamesMapping()[arguments.log_level.upper()],
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        emulator = _make_emulator(arguments).start()
    except ModuleNotFoundError as error:
        print(f"airflow-ci-emulator needs {error.name}: pip install tencent-ci-emulator", file=sys.stderr)
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


def _make_emulator(arguments: argparse.Namespace) -> Emulator:
    # After the options have been read: the server imports dependencies that may be missing
    from tencent_ci_emulator.server import Emulator

    first, *others = arguments.bucket or [config.DEMO_BUCKET]
    settings = {setting.name: getattr(arguments, setting.name) for setting in _settings()}
    return Emulator(
        arguments.data_dir,
        bucket=first,
        buckets=others,
        clock=VirtualClock() if arguments.virtual_clock else None,
        faults=arguments.faults,
        as_observed=arguments.as_observed,
        **settings,
    )


def _settings() -> list[dataclasses.Field[Any]]:
    """Return the settings that are options."""
    return [setting for setting in dataclasses.fields(config.EmulatorConfig) if "help" in setting.metadata]


def _make_parser() -> argparse.ArgumentParser:
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
    add(
        "--bucket",
        action="append",
        metavar="NAME-APPID",
        help="a bucket that exists; may be repeated, the first is that of requests that name none"
        f" (default: {config.DEMO_BUCKET})",
    )
    for setting in _settings():
        add("--" + setting.name.replace("_", "-"), **_make_option(setting))
    add("--faults", type=Path, metavar="FILE", help="fault plan, a JSON file")
    add(
        "--as-observed",
        type=Path,
        metavar="FILE",
        help='behave as the service did, where no document says how: a report of "make live", a JSON file;'
        " --lenient-cancel and --unbound win over it",
    )
    add(
        "--virtual-clock",
        action="store_true",
        help="time stands still until POST /_emulator/clock advances it",
    )
    levels = ("debug", "info", "warning", "error")
    add("--log-level", choices=levels, default="info", help="(default: %(default)s)")
    return parser


def _make_option(setting: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return the option of a setting. A value in its environment variable replaces the default."""
    default = None if setting.default is dataclasses.MISSING else setting.default
    description = str(setting.metadata["help"])
    if setting.type == "bool":
        return {"action": "store_true", "help": description}
    shown = setting.metadata["shown"] or (f"{default:g}" if isinstance(default, float) else default)
    variable = config.ENVIRONMENT.get(setting.name)
    option = {
        "type": {"int": int, "float": float}.get(str(setting.type), str),
        "default": (os.environ.get(variable) if variable else None) or default,
        "metavar": setting.metadata["metavar"] or setting.name.upper(),
        "help": f"{description} (default: {shown})",
    }
    if setting.name == "unbound":
        option |= {"nargs": "?", "const": next(iter(config.UNBOUND_CODES)), "choices": config.UNBOUND_CODES}
    return option


if __name__ == "__main__":
    sys.exit(main())
