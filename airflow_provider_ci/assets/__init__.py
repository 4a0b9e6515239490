"""COS objects as Airflow assets, and the events of tasks that made them."""
