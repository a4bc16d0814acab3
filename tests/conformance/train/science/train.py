"""Digits by softmax regression with JAX across processes: gradients are averaged by a collective.

Set up by the environment of a JAXJob, or by that of a TrainJob, whose names begin with JAX.
"""
import os

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

jax.config.update("jax_cpu_collectives_implementation", "gloo")
env = os.environ
trainjob = "JAX_COORDINATOR_ADDRESS" in env
prefix = "JAX_" if trainjob else ""
jax.distributed.initialize(
    coordinator_address=env["JAX_COORDINATOR_ADDRESS"] if trainjob else f"{env['COORDINATOR_ADDRESS']}:{env['COORDINATOR_PORT']}",
    num_processes=int(env[prefix + "NUM_PROCESSES"]),
    process_id=int(env[prefix + "PROCESS_ID"]),
)
rank, world = jax.process_index(), jax.process_count()
images, labels = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(images / 16.0, labels, test_size=0.25, random_state=0)
rows = len(train_x) // world
x = jnp.asarray(train_x[rank * rows:(rank + 1) * rows], jnp.float32)[None]
y = jnp.asarray(train_y[rank * rows:(rank + 1) * rows])[None]


def loss(weights, x, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(x @ weights), y[:, None], 1).mean()


def step(weights, x, y):
    return weights - 2.0 * jax.lax.pmean(jax.grad(loss)(weights, x, y), "workers")


step = jax.pmap(step, axis_name="workers")
weights = jnp.zeros((1, 64, 10))
for _ in range(300):
    weights = step(weights, x, y)
final = np.asarray(weights.addressable_shards[0].data)[0]
accuracy = float(((test_x @ final).argmax(1) == test_y).mean())
print(f"process {rank} of {world}: accuracy={accuracy:.4f}", flush=True)
raise SystemExit(0 if accuracy >= 0.93 else "accuracy below 0.93")
