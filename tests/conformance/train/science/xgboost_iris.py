"""Iris with distributed XGBoost: rank 0 runs the tracker, all ranks train; set up by XGBoostJob's environment, or by that
of a TrainJob, whose names begin with DMLC."""
import argparse
import os
import socket

import numpy as np
import xgboost as xgb
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from xgboost import collective
from xgboost.tracker import RabitTracker

parser = argparse.ArgumentParser()
parser.add_argument("--job_type", default="Train")
parser.add_argument("--xgboost_parameter", default="")
parser.add_argument("--n_estimators", type=int, default=10)
parser.add_argument("--learning_rate", type=float, default=0.1)
parser.add_argument("--model_path", default="")
parser.add_argument("--model_storage_type", default="")
args = parser.parse_args()

names = ("DMLC_TASK_ID", "DMLC_NUM_WORKER", "DMLC_TRACKER_URI", "DMLC_TRACKER_PORT")
if "DMLC_TASK_ID" not in os.environ:
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
rank, world, host, port = (int(text) if text.isdigit() else text for text in map(os.environ.__getitem__, names))
tracker = None
if rank == 0:
    # The tracker tells the others where it is: by its address, not by "any".
    host = socket.gethostbyname(socket.gethostname())
    tracker = RabitTracker(host_ip=host, n_workers=world, port=port)
    tracker.start()
settings = {"dmlc_communicator": "rabit", "dmlc_tracker_uri": host, "dmlc_tracker_port": port, "dmlc_task_id": str(rank),
            "dmlc_timeout": 60, "dmlc_retry": 20}
x, y = load_iris(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.3, random_state=0, stratify=y)
with collective.CommunicatorContext(**settings):
    mine = xgb.DMatrix(train_x[rank::world], train_y[rank::world])
    model = xgb.train({"objective": "multi:softprob", "num_class": 3, "eta": args.learning_rate, "nthread": 1},
                      mine, num_boost_round=args.n_estimators)
    accuracy = float((model.predict(xgb.DMatrix(test_x)).argmax(1) == test_y).mean())
    print(f"rank {rank} of {world}: accuracy={accuracy:.4f}", flush=True)
    if rank == 0 and args.model_path:
        os.makedirs(args.model_path, exist_ok=True)
        model.save_model(os.path.join(args.model_path, "model.json"))
if tracker:
    tracker.wait_for()
raise SystemExit(0 if accuracy >= 0.9 else "accuracy below 0.9")
