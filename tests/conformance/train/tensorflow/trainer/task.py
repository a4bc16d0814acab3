"""Asynchronous training with parameter servers (between-graph replication), as TFJob's first samples do it."""
import argparse
import json
import os
import time

import numpy as np
import tensorflow.compat.v1 as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

tf.disable_v2_behavior()


def model(x):
    hidden = tf.get_variable("hidden", [64, 64], initializer=tf.glorot_uniform_initializer(seed=1))
    hidden_bias = tf.get_variable("hidden_bias", [64], initializer=tf.zeros_initializer())
    out = tf.get_variable("out", [64, 10], initializer=tf.glorot_uniform_initializer(seed=2))
    out_bias = tf.get_variable("out_bias", [10], initializer=tf.zeros_initializer())
    return tf.matmul(tf.nn.relu(tf.matmul(x, hidden) + hidden_bias), out) + out_bias


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--training_steps", type=int, default=1000)
    args = parser.parse_args()
    config = json.loads(os.environ["TF_CONFIG"])
    cluster, task = tf.train.ClusterSpec(config["cluster"]), config["task"]
    server = tf.distribute.Server(cluster, job_name=task["type"], task_index=task["index"])
    if task["type"] == "ps":
        server.join()
        return
    images, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(images / 16.0, labels, test_size=0.25, random_state=0)
    chief = task["index"] == 0
    with tf.device(tf.train.replica_device_setter(cluster=cluster, worker_device=f"/job:worker/task:{task['index']}")):
        x = tf.placeholder(tf.float32, [None, 64])
        y = tf.placeholder(tf.int64, [None])
        logits = model(x)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
        step = tf.train.get_or_create_global_step()
        train = tf.train.AdamOptimizer(0.003).minimize(loss, global_step=step)
        accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), y), tf.float32))
    rng = np.random.default_rng(task["index"])
    with tf.train.MonitoredTrainingSession(master=server.target, is_chief=chief) as session:
        done = 0
        while done < args.training_steps:
            rows = rng.integers(0, len(train_x), args.batch_size)
            _, done = session.run([train, step], {x: train_x[rows], y: train_y[rows]})
        reached = session.run(accuracy, {x: test_x, y: test_y})
    print(f"worker {task['index']} of {len(config['cluster']['worker'])}: step={done} accuracy={reached:.4f}", flush=True)
    if reached < 0.93:
        raise SystemExit("accuracy below 0.93")
    if chief:
        # The others read the last variables from the servers; the job ends with the chief.
        time.sleep(1)


main()
