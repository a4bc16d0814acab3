"""Digits with summaries: one worker, or several kept in step by MultiWorkerMirroredStrategy."""
import argparse
import json
import os

import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--log_dir", default="")
parser.add_argument("--learning_rate", type=float, default=0.003)
parser.add_argument("--batch_size", type=int, default=100)
parser.add_argument("--hidden_layers", type=int, default=1)
parser.add_argument("--steps", type=int, default=300)
args = parser.parse_args()

config = json.loads(os.environ.get("TF_CONFIG") or "{}")
workers = len(config.get("cluster", {}).get("worker", [])) or 1
strategy = tf.distribute.MultiWorkerMirroredStrategy() if workers > 1 else tf.distribute.get_strategy()
index = config.get("task", {}).get("index", 0)

images, labels = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(
    (images / 16.0).astype("float32"), labels, test_size=0.25, random_state=0)


def batches(context):
    """Each worker reads its own share, in its own order."""
    share = slice(context.input_pipeline_id, None, context.num_input_pipelines)
    data = tf.data.Dataset.from_tensor_slices((train_x[share], train_y[share]))
    return data.shuffle(2000, seed=context.input_pipeline_id).repeat().batch(args.batch_size // workers)


with strategy.scope():
    sizes = [64] + [64] * args.hidden_layers + [10]
    weights = [tf.Variable(tf.random.stateless_normal([a, b], seed=[i, 0]) / a ** 0.5)
               for i, (a, b) in enumerate(zip(sizes, sizes[1:]))]
    biases = [tf.Variable(tf.zeros([b])) for b in sizes[1:]]


def logits(x):
    for i, (w, b) in enumerate(zip(weights, biases)):
        x = tf.matmul(x, w) + b
        if i < len(weights) - 1:
            x = tf.nn.relu(x)
    return x


def replica_step(x, y):
    variables = weights + biases
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits(x)))
    gradients = tape.gradient(loss, variables)
    context = tf.distribute.get_replica_context()
    gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
    rate = args.learning_rate * 30
    # Plain gradient descent; every replica applies the same mean.
    for variable, gradient in zip(variables, gradients):
        variable.assign_sub(rate * gradient, read_value=False)
    return loss


@tf.function
def step(iterator):
    return strategy.run(replica_step, args=next(iterator))


iterator = iter(strategy.distribute_datasets_from_function(batches))
writer = tf.summary.create_file_writer(args.log_dir) if args.log_dir and index == 0 else None
for number in range(args.steps):
    loss = strategy.reduce(tf.distribute.ReduceOp.MEAN, step(iterator), axis=None)
    if writer and number % 50 == 0:
        with writer.as_default(step=number):
            tf.summary.scalar("loss", loss)
accuracy = float(tf.reduce_mean(tf.cast(tf.argmax(logits(test_x), 1) == test_y, tf.float32)))
if writer:
    with writer.as_default(step=args.steps):
        tf.summary.scalar("accuracy", accuracy)
    writer.close()
print(f"worker {index} of {workers}: accuracy={accuracy:.4f}", flush=True)
raise SystemExit(0 if accuracy >= 0.9 else "accuracy below 0.9")
