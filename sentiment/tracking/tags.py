"""Names of the tags that runs, model versions and registered models carry in MLflow."""

# Of a run: what it computed, from what, with which code.
CONFIG_HASH = "sentiment.config_hash"
DATA_FINGERPRINT = "sentiment.data_fingerprint"
TEST_FINGERPRINT = "sentiment.test_fingerprint"
CODE_HASH = "sentiment.code_hash"
GIT_COMMIT = "sentiment.git_commit"
GIT_DIRTY = "sentiment.git_dirty"
VERSION = "sentiment.version"
DIGEST = "sentiment.digest"
PROCESS = "sentiment.process"
EXPERIMENT = "sentiment.experiment"
FAILURE = "sentiment.failure"
NOTES = "mlflow.note.content"  # MLflow's own: it shows them above the run

# Of a sweep's own run, and (SWEEP) of its jobs.
SWEEP = "sentiment.sweep"
KIND = "sentiment.kind"
SPACE = "sentiment.space"
COMMAND = "sentiment.command"
FOLDER = "sentiment.folder"
JOBS = "sentiment.jobs"
STATE = "sentiment.state"
BEST_RUN = "sentiment.best_run"
BEST_OVERRIDES = "sentiment.best_overrides"

# Of a model version: a metric of its run; of a registered model: moves of aliases, and turns.
METRIC = "sentiment.metric."
MOVE = "sentiment.history."
TURN = "sentiment.turn."
