"""The logged model in another's conditions: a process that has mlflow, numpy and pandas, not this package."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import yaml

from sentiment import config
from sentiment.scorer import Scorer
from sentiment.tracking import client as tracking
from sentiment.training.run import train

SHORT = "a great film, truly"
TEXTS = [SHORT, "a dull and stupid mess of a plot " * 600]

# No site initialisation (-S), so that an editable installation of this package is out of sight.
LOAD = """
import json, sys
sys.path.append(sys.argv[1])
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[2])
found = model.predict(pandas.DataFrame({"text": json.load(sys.stdin)}))
print(json.dumps([found["label"].tolist(), found["probability_positive"].tolist(),
    {name: module.__file__ for name, module in sys.modules.items() if name.startswith("sentiment")}]))
"""


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A fresh training's model as MLflow stores it, copied elsewhere, with the stored one."""
    here = tmp_path_factory.mktemp("travel")
    words = ["experiment=quick", "data.sample_size=300", f"output_dir={here}/out"]
    result = train(config.compose(words))
    client = tracking.connect(here / "out")
    (model,) = client.get_run(result.run_id).outputs.model_outputs
    source = client.get_logged_model(model.model_id).artifact_location
    copied = here / "elsewhere"
    Path(source.removeprefix("file://")).rename(copied)
    return copied, Scorer.load(Path(result.model) / "scorer"), here


def test_it_loads_and_scores_where_this_package_is_not(logged, tmp_path):
    model, scorer, _ = logged
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOAD, sysconfig.get_path("purelib"), str(model)],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    labels, positive, modules = json.loads(done.stdout)
    expected = scorer.predict(TEXTS)
    assert labels == expected.labels
    np.testing.assert_allclose(positive, expected.probabilities[:, 1], rtol=0, atol=1e-9)
    # Of this package, only what travels.
    assert {name.split(".")[1] for name in modules if "." in name} <= {
        "errors",
        "text",
        "scorer",
        "records",
    }
    assert all(file.startswith(str(model)) for file in modules.values())


def test_it_names_no_path_of_the_machine_that_made_it(logged):
    model, _, here = logged
    document = (model / "MLmodel").read_text()
    # MLflow itself writes where its artifact store lies, and reads it nowhere.
    assert str(here) not in "".join(
        line for line in document.splitlines() if not line.startswith("artifact_path:")
    )
    flavor = yaml.safe_load(document)["flavors"]["python_function"]
    assert flavor["model_code_path"] == "pyfunc.py"
    assert flavor["artifacts"]["scorer"]["uri"] == flavor["artifacts"]["scorer"]["path"]
    assert str(Path(__file__).parents[2]) not in document
