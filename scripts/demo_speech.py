"""Make subtitles of speech over music: real Airflow, the emulator, real audio, and real speech recognition.

Usage: ``python scripts/demo_speech.py`` (or ``make demo-speech``). No account and no network are needed;
everything it makes is in ``.demo/``.
"""

from __future__ import annotations

import json
import sys
import time

from demo import AIRFLOW_LOG, RESULTS, ROOT, WORK, DemoError, airflow, emulator, prepare_airflow, say

DAG_ID = "example_speech"
RECORDING = ROOT / "example_dags/media/announcement_over_music.mp3"


def main() -> int:
    """Run the demo; return the exit status."""
    started = time.monotonic()
    try:
        WORK.mkdir(exist_ok=True)
        with emulator() as url:
            prepare_airflow(url)
            subtitles = run_dag()
    except DemoError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    print(f"\n{subtitles}\nWhat is spoken in {RECORDING.name}, after {time.monotonic() - started:.0f} s.")
    return 0


def run_dag() -> str:
    """Upload the recording, run the DAG on it, and return the subtitles."""
    from airflow_provider_ci.hooks.ci import TencentCIHook

    hook, key = TencentCIHook(), f"in/{RECORDING.name}"
    say(f"Uploading {RECORDING.name} to the bucket as {key}")
    hook.upload_file(RECORDING, key)
    folder = RESULTS / "speech"
    transcript = folder / "transcript.srt"
    transcript.unlink(missing_ok=True)
    AIRFLOW_LOG.unlink(missing_ok=True)
    say(f"Running the DAG {DAG_ID} with `airflow dags test` (its log: {AIRFLOW_LOG.relative_to(ROOT)})")
    airflow("dags", "test", DAG_ID, "--conf", json.dumps({"input_object": key, "download_dir": str(folder)}))
    for tag in ("VoiceSeparate", "SpeechRecognition"):
        for job in hook.list_jobs(tag=tag):
            say(f"  job {job.job_id}, {tag}: {job.state}")
    if not transcript.is_file():
        raise DemoError(f"the DAG ended, but there are no subtitles in {folder}; see {AIRFLOW_LOG}")
    return transcript.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
