"""A DAG whose Python task calls the script, of which docs/migrating.md speaks."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, task

from tests.docs.before_script import client_of_the_environment, separate

with DAG("before_python_operator", schedule=None, catchup=False, params={"input_object": "in/song.mp3"}):

    @task(retries=2)
    def separate_song(params: dict | None = None) -> str:
        return separate(client_of_the_environment(), params["input_object"])

    separate_song()
