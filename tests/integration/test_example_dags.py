"""The shipped DAGs in real Airflow (``dag.test()``), on the emulator."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.integration.airflow_runs import asset_events, asset_model, dags_in, xcom
from tests.recording import SHORT

ROOT = Path(__file__).resolve().parents[2]
MEDIA = ROOT / "example_dags" / "media" / "speech_over_music.mp3"
KEY = "in/speech_over_music.mp3"

pytestmark = pytest.mark.usefixtures("airflow_db")


@pytest.fixture
def hook(emulator, monkeypatch):
    """A hook on the emulator, whose bucket holds a recording."""
    from airflow_provider_ci.hooks.ci import TencentCIHook

    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    hook.upload_file(SHORT, KEY)
    yield hook
    hook.close()


@pytest.fixture(scope="session")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(ROOT / "example_dags")


def seconds(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        return float(sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0)))


def test_submit_wait_download(dags, hook, tmp_path):
    hook.upload_file(MEDIA, KEY)
    dag_run = dags["example_voice_separate"].test(
        run_conf={"input_object": KEY, "download_dir": str(tmp_path)}
    )

    assert dag_run.state == "success"
    job_id, result = xcom(dag_run, "submit"), xcom(dag_run, "wait")
    assert [job.job_id for job in hook.list_jobs(input_object=KEY)] == [job_id], "one accepted job"
    assert (result["job_id"], result["state"]) == (job_id, "Success")
    assert xcom(dag_run, "submit", "job")["state"] == "Submitted"
    assert set(result["outputs"]) == {"voice", "background"}
    assert result["outputs"]["voice"]["object"] == f"out/{job_id}/voice.mp3"
    assert result["other_objects"] == []
    paths = xcom(dag_run, "download")
    for stem, output in result["outputs"].items():
        path = Path(paths[stem])
        assert hashlib.md5(path.read_bytes()).hexdigest() == output["md5"]
        assert seconds(path) == pytest.approx(seconds(MEDIA), abs=0.2)
    assert paths["voice"] != paths["background"]


def test_a_file_of_the_worker_and_back(dags, hook, tmp_path):
    dag_run = dags["example_local_file"].test(
        run_conf={"path": str(SHORT), "folder": str(tmp_path / "separated")}
    )

    assert dag_run.state == "success"
    key = f"in/{dag_run.run_id}/{SHORT.name}"
    assert xcom(dag_run, "upload") == key
    assert [job.job_id for job in hook.list_jobs(input_object=key)] == [xcom(dag_run, "separate")]
    folder = tmp_path / "separated"
    assert xcom(dag_run, "download") == str(folder / "voice.mp3")
    assert sorted(xcom(dag_run, "download_all")) == [
        str(folder / "background.mp3"),
        str(folder / "voice.mp3"),
    ]
    assert seconds(folder / "voice.mp3") == pytest.approx(seconds(SHORT), abs=0.2)


def test_mapped_tasks_that_wait(dags, hook, tmp_path):
    other = "in/again.mp3"
    hook.upload_file(SHORT, other)

    dag_run = dags["example_voice_separate_one_task"].test(run_conf={"input_objects": [KEY, other]})

    assert dag_run.state == "success"
    ids = [xcom(dag_run, "separate", map_index=index) for index in (0, 1)]
    jobs = {job.job_id: job for job in hook.list_jobs()}
    assert sorted(jobs) == sorted(ids), "each task instance submitted one job"
    assert [jobs[job_id].input_object for job_id in ids] == [KEY, other]
    assert [xcom(dag_run, "separate", "job", index)["state"] for index in (0, 1)] == ["Success", "Success"]


def test_failed_job_fails_the_run_without_retry(dags, hook, tmp_path):
    dag_run = dags["example_voice_separate"].test(
        run_conf={"input_object": "in/absent.mp3", "download_dir": str(tmp_path)}
    )

    assert dag_run.state == "failed"
    states = {ti.task_id: (ti.state, ti.try_number) for ti in dag_run.get_task_instances()}
    assert states["submit"][0] == "success"
    assert states["wait"] == ("failed", 1)
    assert states["download"][0] == "upstream_failed"
    assert list(tmp_path.iterdir()) == []


def test_a_template_is_made_once_and_used(dags, hook):
    runs = [dags["example_voice_separate_template"].test(run_conf={"input_object": KEY}) for _ in range(2)]

    assert [dag_run.state for dag_run in runs] == ["success", "success"]
    (template,) = hook.templates.list()
    assert template.name == "stems-mp3"
    assert [xcom(dag_run, "template") for dag_run in runs] == [template.template_id] * 2
    for job in hook.list_jobs():
        assert (job.state, job.operation["TemplateId"]) == ("Success", template.template_id)
    states = {ti.task_id: ti.state for ti in runs[0].get_task_instances()}
    assert states["cancel"] == "skipped"


def test_a_job_that_nobody_waits_for_is_cancelled(dags, hook, emulator, monkeypatch):
    (queue,) = hook.queues.list()
    hook.queues.update(queue.queue_id, state="Paused")
    monkeypatch.setattr(dags["example_voice_separate_template"].get_task("wait"), "timeout", 2)

    dag_run = dags["example_voice_separate_template"].test(run_conf={"input_object": KEY})

    assert [job.state for job in hook.list_jobs()] == ["Cancel"]
    assert xcom(dag_run, "cancel") == {xcom(dag_run, "submit"): "Cancel"}


def test_a_prefix_by_one_batch_job(dags, hook, monkeypatch):
    monkeypatch.setattr("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.5)
    hook.upload_file(SHORT, "in/again.mp3")

    dag_run = dags["example_voice_separate_batch"].test()

    assert dag_run.state == "success"
    (batch,) = hook.batches.list()
    assert xcom(dag_run, "batch") == batch.job_id
    assert xcom(dag_run, "batch", "batch")["counts"] == {"Success": 2}
    voices = xcom(dag_run, "results")
    assert set(voices) == {KEY, "in/again.mp3"}
    for key in voices.values():
        assert key.startswith(f"out/{batch.job_id}/")
        assert hook.head_object(key).size > 1000


def test_a_prefix_by_one_task_with_a_job_for_each_object(dags, hook):
    hook.upload_file(SHORT, "in/again.mp3")
    hook.upload_file(SHORT, "in/notes.txt")

    dag_run = _polled_often(dags["example_bulk"]).test()

    assert dag_run.state == "success"
    result = xcom(dag_run, "separate")
    assert (result["total"], result["succeeded"], result["submitted"]) == (2, 2, 2)
    voices = xcom(dag_run, "voices")
    assert sorted(voices) == ["in/again.mp3", KEY]
    for key in voices.values():
        assert key.startswith("out/bulk/")
        assert hook.head_object(key).size > 1000


def test_a_voice_file_starts_another_dag(dags, hook):
    from airflow.models import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:  # a paused DAG is not started
        session.get(DagModel, "example_voice_separate_assets_downstream").is_paused = False

    dag_run = dags["example_voice_separate_assets"].test(run_conf={"input_object": KEY})

    assert dag_run.state == "success"
    with create_session() as session:
        queued = {row.target_dag_id for row in session.scalars(select(asset_model("DagRunQueue")))}
    reported = dict(asset_events(dag_run, "separate") + asset_events(dag_run, "separate_stems"))
    assert queued == {"example_voice_separate_assets_downstream"}
    stems = xcom(dag_run, "separate_stems")
    assert {uri.partition("/out/")[2]: extra["job_id"] for uri, extra in reported.items()} == {
        "latest/voice.mp3": xcom(dag_run, "separate"),
        f"{stems}/voice.mp3": stems,
        f"{stems}/background.mp3": stems,
    }
    for extra in reported.values():
        assert hook.head_object(extra["object"], bucket=extra["bucket"]).size > 1000
    # Airflow lists the event of a file that has an alias under both
    listed = {uri: [SimpleNamespace(extra=extra)] for uri, extra in reported.items()}
    listed["stems"] = [
        event for events in listed.values() for event in events if event.extra["job_id"] == stems
    ]
    use = dags["example_voice_separate_assets_downstream"].get_task("use").python_callable
    assert use(triggering_asset_events=listed) == list(reported.values())


def test_a_recording_becomes_subtitles_in_three_jobs(dags, hook, tmp_path):
    # for an emulator that cannot recognise speech: what it hears
    hook.upload_file(_text(tmp_path, "Good morning."), "out/p/voice.mp3.transcript.txt")
    run_conf = {"input_object": KEY, "output_folder": "out/p", "download_dir": str(tmp_path / "files")}

    dag_run = _polled_often(dags["example_audio_pipeline"]).test(run_conf=run_conf)

    assert dag_run.state == "success"
    jobs = {task_id: xcom(dag_run, task_id, "job") for task_id in ("clean", "separate", "recognise")}
    assert [job["input"]["object"] for job in jobs.values()] == [KEY, "out/p/clean.wav", "out/p/voice.mp3"]
    assert [list(job["outputs"]) for job in jobs.values()] == [["file"], ["voice"], ["transcript"]]
    assert jobs["recognise"]["outputs"]["transcript"]["object"] == "out/p/subtitles.srt"
    subtitles = Path(xcom(dag_run, "download")["transcript"])
    assert subtitles == tmp_path / "files" / "subtitles.srt"
    assert "-->" in subtitles.read_text("utf-8")
    assert "Good morning" in subtitles.read_text("utf-8")


@pytest.mark.usefixtures("with_recognition")
def test_speech_over_music_becomes_subtitles(dags, hook, tmp_path):
    run_conf = {"input_object": KEY, "download_dir": str(tmp_path)}

    dag_run = _polled_often(dags["example_speech"]).test(run_conf=run_conf)

    assert dag_run.state == "success"
    job = xcom(dag_run, "recognise", "job")
    assert job["input"]["object"] == f"out/{xcom(dag_run, 'separate')}/voice.mp3"
    assert xcom(dag_run, "download")["transcript"] == str(tmp_path / "transcript.srt")
    assert (tmp_path / "transcript.srt").is_file()


def _polled_often(dag: Any) -> Any:
    for task in dag.tasks:
        task.poll_interval = 0.05
    return dag


def _text(folder: Path, text: str) -> Path:
    path = folder / "text.txt"
    path.write_text(text, "utf-8")
    return path


def test_jobs_of_several_types(dags, hook):
    dag_run = _polled_often(dags["example_job_types"]).test(
        run_conf={"input_object": KEY, "output_folder": "out/t"}
    )

    assert dag_run.state == "success"
    jobs = {task_id: xcom(dag_run, task_id, "job") for task_id in ("announce", "convert", "join", "inspect")}
    assert [job["tag"] for job in jobs.values()] == ["Tts", "Transcode", "Concat", "MediaInfo"]
    assert jobs["announce"]["input"]["object"] is None
    for name, key in {
        "announce": "announcement.wav",
        "convert": "recording.mp3",
        "join": "joined.mp3",
    }.items():
        assert jobs[name]["outputs"]["file"]["object"] == f"out/t/{key}"
        assert hook.head_object(f"out/t/{key}").size
    assert jobs["inspect"]["outputs"] == {}
    length = float(jobs["inspect"]["result"]["MediaInfo"]["Format"]["Duration"])
    one = float(jobs["convert"]["result"]["MediaInfo"]["Format"]["Duration"])
    assert length == pytest.approx(2 * one, abs=0.2)
    assert float(hook.media_info("out/t/joined.mp3").format.duration) == pytest.approx(length, abs=0.1)


def test_a_batch_with_a_template_of_any_type(dags, hook, monkeypatch):
    monkeypatch.setattr("airflow_provider_ci.submission.durable_submission.LIST_CONSISTENCY_DELAY", 0.5)

    dag_run = _polled_often(dags["example_batch_of_any_type"]).test()

    assert dag_run.state == "success"
    (template,) = hook.templates.list()
    assert (template.tag, template.template_id) == ("Transcode", xcom(dag_run, "template"))
    (job,) = hook.list_jobs(tag="Transcode", inventory_trigger_job_id=xcom(dag_run, "batch"))
    assert job.operation["TemplateId"] == template.template_id
    assert xcom(dag_run, "batch", "batch")["counts"] == {"Success": 1}
