"""Apache Airflow provider for Tencent Cloud Cloud Infinite (CI, 数据万象)."""

__version__ = "0.1.0"
