"""MLflow. logging.command: [python3, docs/feeds/mlflow_feed.py]. Without MLFLOW_TRACKING_URI it writes to ./mlruns."""
import mlflow

from feed import config_file, rows, run_name

with mlflow.start_run(run_name=run_name()):
    if config_file().exists():
        mlflow.log_artifact(str(config_file()))
    for step, values in rows():
        mlflow.log_metrics(values, step=step)
