"""A job submitted by the hook, as docs/operators.md shows it."""

from __future__ import annotations


def separate(song: str) -> list[str]:
    """Separate a song, as the page shows it; return the files."""
    # [START submit]
    import time

    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.protocol.jobs import Input, JobRequest, Operation, Output
    from airflow_provider_ci.protocol.results import job_result
    from airflow_provider_ci.protocol.voice_separation import AudioConfig, VoiceSeparate

    hook = TencentCIHook()
    hook.upload_file(song, "in/song.mp3")
    job, _ = hook.submit_job(
        JobRequest(
            input=Input(object="in/song.mp3"),
            operation=Operation(
                voice_separate=VoiceSeparate(
                    audio_mode="AudioAndBackground", audio_config=AudioConfig(codec="mp3")
                ),
                # bucket and region are those of the connection
                output=Output(
                    voice_object="out/${jobid}/voice.${ext}",
                    background_object="out/${jobid}/background.${ext}",
                ),
                user_data="my-script",
            ),
        )
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
    # [END submit]
    return [f"{name}.mp3" for name in result["outputs"]]
