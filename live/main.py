"""The command: ``python -m live``, which ``make live`` and ``make live-clean`` run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from airflow_provider_ci.exceptions import TencentCIError
from live.clock import Clock
from live.connection import CONN_ID, NoConnectionError, find_connection, use_private_airflow
from live.home import private_home, remove_abandoned_homes
from live.interruption import interruptible
from live.journal import Journal, JournalError, Place, journals, name_endpoint
from live.options import Options, read_options
from live.plan import confirm, make_plan
from live.tokens import new_token

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook


def main(arguments: Sequence[str], *, clock: Clock | None = None, terminal: TextIO | None = None) -> int:
    """Run the command; return the exit status."""
    options = read_options(arguments)
    clock, terminal = clock or Clock(), terminal or sys.stdin
    try:
        connection = find_connection(options.conn_id)
    except NoConnectionError as error:
        _say(str(error))
        return 2
    token = new_token()
    with ExitStack() as stack:
        try:
            home = stack.enter_context(private_home(options.folder, token))
        except OSError as error:
            _say(
                f"--folder is {options.folder}, allowed: a folder where you may write, or a new one in such a"
                f" folder ({error.strerror})"
            )
            return 2
        try:
            with interruptible():
                use_private_airflow(home, connection)
                from airflow_provider_ci.hooks.ci import TencentCIHook

                with TencentCIHook(CONN_ID) as hook:
                    if options.clean:
                        return _clean(options, hook, clock)
                    return _run(options, hook, clock, terminal, token, home)
        except KeyboardInterrupt:
            _say("Interrupted.")
            return 130
        except TencentCIError as error:
            _say(f"{error}")
            return 2


def _run(
    options: Options, hook: TencentCIHook, clock: Clock, terminal: TextIO, token: str, home: Path
) -> int:
    from live.run import Run

    try:
        _check_report(options.report)
        plan = make_plan(options, can_create_bucket=options.bucket is None)
    except ValueError as error:
        _say(str(error))
        return 2
    endpoint = hook.settings.endpoint(options.bucket)
    place = Place(
        endpoint=name_endpoint(endpoint),
        bucket=options.bucket or f"{token}-{endpoint.bucket.rpartition('-')[2]}",
        region=endpoint.region,
        prefix=f"{token}/",
        has_own_bucket=options.bucket is None,
    )
    where = "a new bucket" if place.has_own_bucket else f"the bucket {place.bucket}, below a new prefix"
    for line in ("", f"In {where}, in {place.region}:", *plan.lines(), ""):
        _say(line)
    if not confirm(plan, options, _say, terminal):
        return 2
    journal = Journal.create(options.folder, token, place, clock)
    _say(f"If this is killed, `{options.clean_command}` removes what {journal.path} lists.")
    run = Run(
        options=options, plan=plan, hook=hook, journal=journal, token=token, home=home, clock=clock, say=_say
    )
    return run.execute()


def _clean(options: Options, hook: TencentCIHook, clock: Clock) -> int:
    from live.run import clean_up

    is_clean = True
    paths = [*journals(options.folder)]
    if not paths:
        _say("There is nothing to remove: no run has left a journal.")
    for path in paths:
        try:
            journal = Journal.open(path, clock)
            place = journal.place
            journal.check_endpoint(name_endpoint(hook.settings.endpoint(place.bucket, place.region)))
        except FileNotFoundError:  # another process has just removed everything
            continue
        except JournalError as error:
            _say(str(error))
            is_clean = False
            continue
        except OSError as error:
            _say(f"{path} cannot be opened: {error.strerror}. Run this as the user who has run make live.")
            is_clean = False
            continue
        _say(f"{path.name}:")
        is_clean &= clean_up(hook, journal, clock, _say, options)
    for line in (left := remove_abandoned_homes(options.folder)):
        _say(line)
    return 0 if is_clean and not left else 1


def _check_report(path: Path) -> None:
    """Raise ``ValueError`` if the report could not be written, before anything is paid for."""
    if path.exists():
        raise ValueError(f"--report is {path}, which exists already: move it, or name another file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"--report is {path}, allowed: a file in a folder where you may write")


def _say(line: str) -> None:
    """Print a line. A terminal that has gone, or lacks a character, must not stop the removal of anything."""
    with suppress(OSError):
        try:
            print(line, flush=True)
        except UnicodeError:
            print(line.encode("ascii", "backslashreplace").decode(), flush=True)
