"""What our side of a call costs, without the network: signing, building the request, reading the answer,
beside Tencent's Python SDK.

``python -m benchmarks.codec`` takes half a minute and prints a table. It needs the SDK: ``pip install
cos-python-sdk-v5``. Both sides make the same request, which is checked, and read the same bytes. Ours checks
the request against the documented rules. Ours makes the parameters and results of a job into dicts when
somebody looks at them: "parse" is what a poll needs, "parse all" has the results too, and is not in the sum.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from lxml import etree

from airflow_provider_ci.protocol.jobs import DescribeJobs, SubmitJob
from airflow_provider_ci.protocol.wire import Credentials, Endpoint, HttpResponse, sign_request
from benchmarks.samples import (
    BUCKET,
    FINISHED,
    JOB_ID,
    OUR_JOB,
    REGION,
    REQUEST_ID,
    SDK_JOB,
    SECRET_ID,
    SECRET_KEY,
)

ROUNDS, CALLS = 60, 200
PARTS = ("sign", "build", "parse")
PARSE_ALL = "parse all"
Side = dict[str, Callable[[], Any]]


def ours() -> Side:
    """Return our parts: what the hook does for a submission, and for the description of a finished job."""
    credentials, endpoint = Credentials(SECRET_ID, SECRET_KEY), Endpoint(bucket=BUCKET, region=REGION)
    submit, describe = SubmitJob(OUR_JOB), DescribeJobs((JOB_ID,))
    request = submit.http_request()
    answer = HttpResponse(200, {"x-ci-request-id": REQUEST_ID}, FINISHED)
    return {
        "sign": lambda: sign_request(request, endpoint, credentials, now=time.time()),
        "build": submit.http_request,
        "parse": lambda: describe.parse(answer),
        PARSE_ALL: lambda: [len(job.operation or ()) for job in describe.parse(answer).jobs_detail],
    }


def sdk() -> Side:
    """Return the same parts of the SDK, as ``ci_create_media_jobs`` and ``ci_get_media_jobs`` call them."""
    from qcloud_cos import CosConfig, CosS3Auth
    from qcloud_cos.cos_comm import format_dict, format_xml, xml_to_dict
    from requests import Request, Session

    logging.getLogger("qcloud_cos").setLevel(logging.WARNING)  # it logs each call, which would cost more
    config = CosConfig(Region=REGION, SecretId=SECRET_ID, SecretKey=SECRET_KEY)
    url = config.uri(bucket=BUCKET, path="/jobs", endpoint=config._endpoint_ci)
    body = format_xml(data=SDK_JOB, root="Request")
    headers = {"User-Agent": "cos-python-sdk-v5.1.9.44"}
    prepared = Session().prepare_request(Request("POST", url, data=body, headers=headers))

    def sign() -> None:
        # without the Authorization of the call before
        CosS3Auth(config, "/jobs", params={})(
            SimpleNamespace(method="POST", url=url, headers=dict(prepared.headers))
        )

    def parse() -> Any:
        return format_dict(xml_to_dict(FINISHED), ["JobsDetail"])

    return {
        "sign": sign,
        "build": lambda: format_xml(data=SDK_JOB, root="Request"),
        "parse": parse,
        PARSE_ALL: parse,
    }


def check_same_work(ours: Side, sdk: Side) -> None:
    """Assert that both build the same document, and read the same values from the answer."""
    first, second = (etree.fromstring(body) for body in (ours["build"]().body, sdk["build"]()))
    assert etree.tostring(first) == etree.tostring(second), "the sides build different documents"
    (job,), (found,) = ours["parse"]().jobs_detail, sdk["parse"]()["JobsDetail"]
    streams = found["Operation"]["MediaInfo"]["Stream"]["Audio"]
    assert (job.job_id, job.state) == (found["JobId"], found["State"])
    read = [
        (stream["CodecName"], stream["SampleRate"])
        for stream in job.operation["MediaInfo"]["Stream"]["Audio"]
    ]
    assert read == [(stream["CodecName"], stream["SampleRate"]) for stream in streams]


def microseconds(part: Callable[[], Any], calls: int) -> float:
    """Return the CPU time of one call: that of the wall would count what else the machine does."""
    begin = time.process_time()
    for _ in range(calls):
        part()
    return (time.process_time() - begin) / calls * 1e6


def measure(sides: dict[str, Side], rounds: int, calls: int) -> dict[tuple[str, str], float]:
    """Return the median of each side and part; sides and parts take turns."""
    parts = (*PARTS, PARSE_ALL)
    taken: dict[tuple[str, str], list[float]] = {(name, part): [] for name in sides for part in parts}
    for turn in range(-3, rounds):
        for part in parts:
            for name, side in sides.items():
                cost = microseconds(side[part], calls)
                if turn >= 0:
                    taken[name, part].append(cost)
    return {key: statistics.median(values) for key, values in taken.items()}


def report(rounds: int = ROUNDS, calls: int = CALLS) -> str:
    """Measure, and return the table."""
    sides = {"ours": ours(), "sdk": sdk()}
    check_same_work(sides["ours"], sides["sdk"])
    cost = measure(sides, rounds, calls)
    lines = [f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}", ""]
    lines += ["| CPU, us a call | ours | SDK | SDK : ours |", "| --- | ---: | ---: | ---: |"]
    for part in PARTS:
        lines.append(_line(part, cost["ours", part], cost["sdk", part]))
    lines.append(_line("sum", *(sum(cost[name, part] for part in PARTS) for name in sides)))
    lines.append(_line(PARSE_ALL, cost["ours", PARSE_ALL], cost["sdk", PARSE_ALL]))
    return "\n".join(lines)


def _line(part: str, ours: float, sdk: float) -> str:
    return f"| {part} | {ours:.1f} | {sdk:.1f} | {sdk / ours:.1f} |"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    try:
        print(report(parser.parse_args().rounds))
    except ImportError as error:
        raise SystemExit(f"{error}: pip install cos-python-sdk-v5") from None


if __name__ == "__main__":
    main()
