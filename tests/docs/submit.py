"""A job submitted by the hook alone, to which docs/operators.md links."""

from __future__ import annotations


def separate(song: str) -> list[str]:
    """Separate a song, as the page shows it; return the files."""
    import time

    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.protocol.results import job_result

    hook = TencentCIHook()
    hook.upload_file(song, "in/song.mp3")
    job, _ = hook.submit_job(
        {
            "Tag": "VoiceSeparate",
            "Input": {"Object": "in/song.mp3"},
            "Operation": {
                "VoiceSeparate": {"AudioMode": "AudioAndBackground", "AudioConfig": {"Codec": "mp3"}},
                # bucket and region are those of the connection
                "Output": {
                    "AuObject": "out/${jobid}/voice.${ext}",
                    "Object": "out/${jobid}/background.${ext}",
                },
                "UserData": "my-script",
            },
        }
    )
    while not job.job_state.is_terminal:
        time.sleep(10)
        described = hook.describe_jobs([job.job_id]).jobs_detail
        job = described[0] if described else job  # none while the id is too new
    result = job_result(job)
    if result["state"] != "Success":
        raise RuntimeError(
            f"{result['job_id']} ended {result['state']}: {result['code']} {result['message']}"
        )
    for name, stem in result["outputs"].items():
        hook.download_file(stem["object"], f"{name}.mp3", md5=stem["md5"])
    return [f"{name}.mp3" for name in result["outputs"]]
