"""A script on Tencent's SDK, as docs/migrating.md shows it."""

from __future__ import annotations

import os
import time

from qcloud_cos import CosConfig, CosS3Client

BUCKET, REGION = "media-1250000001", "ap-guangzhou"


def separate(client: CosS3Client, key: str) -> str:
    # [START script]
    job = client.ci_create_media_jobs(
        Bucket=BUCKET,
        Jobs={
            "Tag": "VoiceSeparate",
            "Input": {"Object": key},
            "Operation": {
                "VoiceSeparate": {"AudioMode": "AudioAndBackground", "AudioConfig": {"Codec": "mp3"}},
                "Output": {
                    "Region": REGION,
                    "Bucket": BUCKET,
                    "Object": "out/${jobid}/background.${ext}",
                    "AuObject": "out/${jobid}/voice.${ext}",
                },
            },
        },
        Lst={},
        ContentType="application/xml",
    )["JobsDetail"][0]
    while job["State"] not in ("Success", "Failed", "Cancel"):
        time.sleep(10)
        job = client.ci_get_media_jobs(Bucket=BUCKET, JobIDs=job["JobId"])["JobsDetail"][0]
    # [END script]
    if job["State"] != "Success":
        raise RuntimeError(f"{job['JobId']}: {job['Code']} {job['Message']}")
    return job["JobId"]


def client_of_the_environment() -> CosS3Client:
    keys = {"SecretId": os.environ["SECRET_ID"], "SecretKey": os.environ["SECRET_KEY"]}
    return CosS3Client(CosConfig(Region=REGION, **keys))
