"""The quick-start: learn to read handwritten digits, as a pipeline.

    load -> split -> train (support vectors) -> evaluate --+-> choose -> publish
                 \\-> train (random forest)   -> evaluate --/

The data is scikit-learn's own (1,797 images of 8 x 8 pixels), so nothing is downloaded but Python packages.
Compile it, then upload the file in the browser or run it:

    pip install kfp==2.17.0
    python digits.py digits.yaml
    kfbox run digits.yaml -p test_size=0.3 --follow

What to learn from it:

* Each `@step` function becomes a step that runs in a container of its own. Only its own text goes there: what
  it needs, it imports itself.
* All steps ask for the same packages, so the box installs them once, not six times.
* Small values travel as parameters (`float`, `str`), files as artifacts (`Dataset`, `Model`, ...): write to an
  output's `.path`, read from an input's `.path`.
* Nothing says what runs when: a step starts as soon as what it takes as input is there, so the two models
  train side by side.
"""

import functools
import sys
from typing import NamedTuple

from kfp import compiler, dsl
from kfp.dsl import HTML, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

step = functools.partial(
    dsl.component,
    base_image="python:3.11",
    packages_to_install=["scikit-learn==1.9.1"],
)


@step
def load(digits: Output[Dataset]) -> None:
    """Writes the images (one row of 64 grey levels each) and the digits they show."""
    import numpy as np
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    with open(digits.path, "wb") as file:
        np.savez_compressed(file, images=images, labels=labels)
    digits.metadata["images"] = len(images)


@step
def split(
    digits: Input[Dataset],
    test_size: float,
    seed: int,
    training: Output[Dataset],
    testing: Output[Dataset],
) -> None:
    """Sets a share of the images aside, each digit in proportion: no model may see them before its exam."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    data = np.load(digits.path)
    images, labels = data["images"], data["labels"]
    parts = train_test_split(images, labels, test_size=test_size, random_state=seed, stratify=labels)
    for output, x, y in ((training, parts[0], parts[2]), (testing, parts[1], parts[3])):
        with open(output.path, "wb") as file:
            np.savez_compressed(file, images=x, labels=y)
        output.metadata["images"] = len(x)


@step
def train(algorithm: str, training: Input[Dataset], seed: int, model: Output[Model]) -> None:
    """Fits one model. The same component serves both algorithms: a pipeline may use it as often as it likes."""
    import joblib
    import numpy as np
    import sklearn
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    algorithms = {
        "support vectors": make_pipeline(StandardScaler(), SVC(random_state=seed)),
        "random forest": RandomForestClassifier(n_estimators=200, random_state=seed),
    }
    data = np.load(training.path)
    fitted = algorithms[algorithm].fit(data["images"], data["labels"])
    joblib.dump(fitted, model.path)
    model.metadata["algorithm"] = algorithm
    model.metadata["framework"] = f"scikit-learn {sklearn.__version__}"


@step
def evaluate(
    model: Input[Model],
    testing: Input[Dataset],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
    report: Output[HTML],
) -> float:
    """Examines a model on the images that were set aside; what it logs is shown with the run in the browser."""
    import html

    import joblib
    import numpy as np
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

    data = np.load(testing.path)
    images, labels = data["images"], data["labels"]
    # A model file runs code when it is loaded. This one comes from a step of this very run.
    guesses = joblib.load(model.path).predict(images)

    accuracy = float(accuracy_score(labels, guesses))
    metrics.log_metric("accuracy", accuracy)
    metrics.log_metric("macro F1", float(f1_score(labels, guesses, average="macro")))
    metrics.log_metric("images", len(labels))

    digits = list(range(10))
    confusion.log_confusion_matrix(
        [str(digit) for digit in digits],
        confusion_matrix(labels, guesses, labels=digits).tolist(),
    )

    def picture(pixels: np.ndarray) -> str:
        dots = "".join(
            f"<rect x='{i % 8}' y='{i // 8}' width='1' height='1' fill-opacity='{level / 16:.2f}'/>"
            for i, level in enumerate(pixels)
        )
        return f"<svg viewBox='0 0 8 8' width='64' height='64' shape-rendering='crispEdges'>{dots}</svg>"

    mistakes = "".join(
        f"<figure>{picture(images[i])}<figcaption>{labels[i]}, read as {guesses[i]}</figcaption></figure>"
        for i in np.flatnonzero(labels != guesses)
    )
    with open(report.path, "w", encoding="utf-8") as file:
        file.write(
            "<!doctype html><meta charset='utf-8'><title>Digits</title>"
            "<style>body{font:14px sans-serif;margin:1em}figure{display:inline-block;margin:.5em;text-align:center}"
            "svg{border:1px solid #ccc}</style>"
            f"<h1>{html.escape(model.metadata['algorithm'])}: {accuracy:.1%} of {len(labels)} digits</h1>"
            f"<p>What it got wrong:</p>{mistakes or '<p>nothing</p>'}"
        )
    return accuracy


@step
def choose(
    support_vectors: float, random_forest: float
) -> NamedTuple("Choice", [("best", str), ("accuracy", float)]):
    """Names the model with the higher accuracy."""
    from collections import namedtuple

    scores = {"support vectors": support_vectors, "random forest": random_forest}
    best = max(scores, key=scores.__getitem__)
    return namedtuple("Choice", ["best", "accuracy"])(best, scores[best])


@step
def publish(
    best: str,
    accuracy: float,
    support_vectors: Input[Model],
    random_forest: Input[Model],
    published: Output[Model],
) -> None:
    """Puts the best model where its users look for it, with what they want to know about it."""
    import shutil

    chosen = {"support vectors": support_vectors, "random forest": random_forest}[best]
    shutil.copyfile(chosen.path, published.path)
    published.metadata.update(chosen.metadata)
    published.metadata["accuracy"] = accuracy


@dsl.pipeline(
    name="digits-quickstart",
    description="Trains two models to read handwritten digits and publishes the better one.",
)
def digits(test_size: float = 0.25, seed: int = 42) -> Model:
    """
    Args:
        test_size: share of the images kept for the exam
        seed: makes the split and the training repeatable

    Returns:
        The better of the two models.
    """
    data = split(digits=load().outputs["digits"], test_size=test_size, seed=seed)

    trained, examined = {}, {}
    for algorithm in ("support vectors", "random forest"):
        fit = train(algorithm=algorithm, training=data.outputs["training"], seed=seed)
        fit.set_display_name(f"train: {algorithm}")
        exam = evaluate(model=fit.outputs["model"], testing=data.outputs["testing"])
        exam.set_display_name(f"evaluate: {algorithm}")
        trained[algorithm], examined[algorithm] = fit, exam

    choice = choose(
        support_vectors=examined["support vectors"].outputs["Output"],
        random_forest=examined["random forest"].outputs["Output"],
    )
    return publish(
        best=choice.outputs["best"],
        accuracy=choice.outputs["accuracy"],
        support_vectors=trained["support vectors"].outputs["model"],
        random_forest=trained["random forest"].outputs["model"],
    ).outputs["published"]


if __name__ == "__main__":
    compiler.Compiler().compile(digits, sys.argv[1] if len(sys.argv) > 1 else "digits.yaml")
