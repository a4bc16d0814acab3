"""A recommender by matrix factorisation: who bought what comes from a bucket, the served model goes to another.

Reads `data/recommender/transactions.csv` (user, product, bought), writes a SavedModel for TensorFlow Serving to
`models/recommender/<n>/` with the signature of the mission's predict call (`users`, `products` -> `recommendations`).
"""

import io
import os
import pathlib
import tempfile

import numpy as np
import pandas as pd
import tensorflow as tf
from minio import Minio

client = Minio(os.environ["MINIO_URL"], os.environ["MINIO_KEY"], os.environ["MINIO_SECRET"], secure=False)
with client.get_object("data", "recommender/transactions.csv") as answer:
    table = pd.read_csv(io.BytesIO(answer.read()))
users, products = int(table.user.max()) + 1, int(table["product"].max()) + 1

tf.keras.utils.set_random_seed(7)
user, product = tf.keras.Input((1,), name="users"), tf.keras.Input((1,), name="products")
taste = tf.keras.layers.Flatten()(tf.keras.layers.Embedding(users, 8)(user))
kind = tf.keras.layers.Flatten()(tf.keras.layers.Embedding(products, 8)(product))
liking = tf.keras.layers.Dot(axes=1)([taste, kind])
model = tf.keras.Model([user, product], tf.keras.layers.Dense(1, activation="sigmoid")(liking))
model.compile(tf.keras.optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
told = [table.user.to_numpy()[:, None], table["product"].to_numpy()[:, None]]
seen = model.fit(told, table.bought.to_numpy(np.float32), epochs=30, batch_size=128, verbose=0)
print(f"accuracy={seen.history['accuracy'][-1]:.3f}", flush=True)


@tf.function(input_signature=[{name: tf.TensorSpec([None, 1], tf.int32, name) for name in ("users", "products")}])
def recommend(asked: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {"recommendations": model([asked["users"], asked["products"]]), "model-version": tf.constant(["1"])}


done = {o.object_name.split("/")[1] for o in client.list_objects("models", "recommender/", recursive=True)}
version = max((int(name) for name in done), default=0) + 1
with tempfile.TemporaryDirectory() as folder:
    tf.saved_model.save(model, folder, signatures={"serving_default": recommend})
    # The marker that a server looks for is the last to come.
    files = sorted((p for p in pathlib.Path(folder).rglob("*") if p.is_file()), key=lambda p: p.name == "saved_model.pb")
    for path in files:
        client.fput_object("models", f"recommender/{version}/{path.relative_to(folder)}", str(path))
print(f"exported s3://models/recommender/{version}/")
