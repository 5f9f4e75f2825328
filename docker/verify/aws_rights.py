"""What each part on AWS must be able to do, and must not, against the policies that were applied.

Usage: ``terraform show -json | aws_rights.py``. Standard library only. Each line of `NEEDED` is a
call that AWS makes or that a container makes, from the documentation of the service; a policy that
does not allow it would only be noticed when a Monday's training does not run.
"""
# ruff: noqa: T201

from __future__ import annotations

import fnmatch
import json
import sys
from collections.abc import Iterator
from typing import Any

# Who, what, on what (an address in the state), and what is known about the call.
Call = tuple[str, str, str, dict[str, str]]

NEEDED: list[Call] = [
    # The agent starts a task: images, logs, secrets under the key.
    ("execution", "ecr:GetAuthorizationToken", "*", {}),
    *(
        ("execution", action, f'aws_ecr_repository.this["{image}"]', {})
        for action in ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
        for image in ("serve", "train", "collector")
    ),
    *(
        ("execution", "logs:PutLogEvents", f'aws_cloudwatch_log_group.this["{group}"]:*', {})
        for group in ("api", "mlflow", "train")
    ),
    ("execution", "secretsmanager:GetSecretValue", "aws_secretsmanager_secret.database", {}),
    ("execution", "secretsmanager:GetSecretValue", "aws_secretsmanager_secret.feedback", {}),
    ("execution", "kms:Decrypt", "aws_kms_key.main", {}),
    # MLflow reads and writes artifacts, which lie under the key.
    *(
        ("mlflow", action, 'aws_s3_bucket.this["artifacts"]/mlflow/1/weights.safetensors', {})
        for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")
    ),
    ("mlflow", "s3:ListBucket", 'aws_s3_bucket.this["artifacts"]', {}),
    ("mlflow", "kms:GenerateDataKey", "aws_kms_key.main", {}),
    ("mlflow", "kms:Decrypt", "aws_kms_key.main", {}),
    # Training lists and reads data.
    ("train", "s3:ListBucket", 'aws_s3_bucket.this["data"]', {}),
    ("train", "s3:GetObject", 'aws_s3_bucket.this["data"]/labels/2026.csv', {}),
    ("train", "s3:GetObjectVersion", 'aws_s3_bucket.this["data"]/labels/2026.csv', {}),
    ("train", "kms:Decrypt", "aws_kms_key.main", {}),
    # The collector writes metrics.
    ("api", "logs:PutLogEvents", 'aws_cloudwatch_log_group.this["metrics"]:*', {}),
    ("api", "logs:CreateLogStream", 'aws_cloudwatch_log_group.this["metrics"]:*', {}),
    # The scheduler reads the schedule, which lies under the key, starts a task, hands over two roles.
    ("scheduler", "kms:Decrypt", "aws_kms_key.main", {}),
    (
        "scheduler",
        "ecs:RunTask",
        "aws_ecs_task_definition.train",
        {"ecs:cluster": "aws_ecs_cluster.main"},
    ),
    *(
        (
            "scheduler",
            "iam:PassRole",
            f'aws_iam_role.this["{role}"]',
            {"iam:PassedToService": "ecs-tasks.amazonaws.com"},
        )
        for role in ("execution", "train")
    ),
    ("flow-logs", "logs:PutLogEvents", 'aws_cloudwatch_log_group.this["network"]:*', {}),
    # Services that act by themselves, by the policy of what they act on.
    *(
        (service, action, resource, {"aws:SourceAccount": "ACCOUNT"})
        for service in ("cloudwatch.amazonaws.com", "events.amazonaws.com")
        for action, resource in (
            ("sns:Publish", "aws_sns_topic.alarms"),
            ("kms:Decrypt", "aws_kms_key.main"),
            ("kms:GenerateDataKey", "aws_kms_key.main"),
        )
    ),
    (
        "logdelivery.elasticloadbalancing.amazonaws.com",
        "s3:PutObject",
        'aws_s3_bucket.this["logs"]/balancer/AWSLogs/ACCOUNT/x',
        {"aws:SourceAccount": "ACCOUNT"},
    ),
    (
        "logging.s3.amazonaws.com",
        "s3:PutObject",
        'aws_s3_bucket.this["logs"]/s3/x',
        {"aws:SourceAccount": "ACCOUNT"},
    ),
]

FORBIDDEN: list[Call] = [
    ("train", "s3:PutObject", 'aws_s3_bucket.this["data"]/labels/2026.csv', {}),
    ("train", "s3:DeleteObject", 'aws_s3_bucket.this["data"]/labels/2026.csv', {}),
    ("train", "s3:GetObject", 'aws_s3_bucket.this["artifacts"]/mlflow/1/weights.safetensors', {}),
    ("api", "s3:GetObject", 'aws_s3_bucket.this["artifacts"]/mlflow/1/weights.safetensors', {}),
    ("api", "kms:Decrypt", "aws_kms_key.main", {}),
    ("scheduler", "ecs:RunTask", "aws_ecs_task_definition.train", {"ecs:cluster": "arn:other"}),
    ("scheduler", "iam:PassRole", 'aws_iam_role.this["mlflow"]', {}),
    ("events.amazonaws.com", "sns:Publish", "aws_sns_topic.alarms", {"aws:SourceAccount": "1"}),
]


class State:
    """The resources of one applied configuration, and who may do what with them."""

    def __init__(self, document: dict[str, Any]) -> None:
        resources = document["values"]["root_module"]["resources"]
        self.values = {resource["address"]: resource["values"] for resource in resources}
        self.account = self.values["data.aws_caller_identity.current"]["account_id"]

    def arn(self, name: str) -> str:
        """Turn an address, with what may stand behind it, into the ARN that AWS would see."""
        found = [a for a in self.values if name.startswith(a) and "arn" in self.values[a]]
        if found:
            address = max(found, key=len)
            name = self.values[address]["arn"] + name.removeprefix(address)
        return name.replace("ACCOUNT", self.account)

    def statements(self, who: str, resource: str) -> Iterator[dict[str, Any]]:
        """Yield the statements that speak of this role or service."""
        if who.endswith(".amazonaws.com"):
            places = {"aws_kms_key": "policy", "aws_sns_topic": "policy", "aws_s3_bucket": "policy"}
            for address, values in self.values.items():
                if address.split(".")[0].removesuffix("_policy") in places and values.get("policy"):
                    about = values.get("arn") or values.get("bucket") or ""
                    if about and about not in resource:
                        continue
                    for statement in json.loads(values["policy"])["Statement"]:
                        principal = statement.get("Principal", {})
                        if isinstance(principal, dict) and who in words(principal.get("Service")):
                            yield statement
        else:
            policy = self.values[f'aws_iam_role_policy.this["{who}"]']["policy"]
            yield from json.loads(policy)["Statement"]

    def allows(self, call: Call) -> bool:
        """Tell whether a statement allows a call."""
        who, action, name, known = call
        resource = self.arn(name)
        context = {key: self.arn(value) for key, value in known.items()}
        for statement in self.statements(who, resource):
            if statement["Effect"] != "Allow":
                continue
            about = words(statement["Resource"])
            # In the policy of a key, "*" is the key itself.
            if not any(fnmatch.fnmatchcase(resource, pattern) for pattern in about):
                continue
            if not any(
                fnmatch.fnmatchcase(action, pattern) for pattern in words(statement["Action"])
            ):
                continue
            asked = [
                (context.get(key, ""), words(values))
                for test in statement.get("Condition", {}).values()
                for key, values in test.items()
            ]
            if all(
                any(fnmatch.fnmatchcase(value, pattern) for pattern in wanted)
                for value, wanted in asked
            ):
                return True
        return False


def words(value: Any) -> list[str]:
    """Return the words of a policy's value: one or several."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def main() -> None:
    state = State(json.load(sys.stdin))
    wrong = [f"cannot, and must: {call}" for call in NEEDED if not state.allows(call)]
    wrong += [f"can, and must not: {call}" for call in FORBIDDEN if state.allows(call)]
    if wrong:
        sys.exit("failed: rights\n" + "\n".join(wrong))
    print(f"rights: {len(NEEDED)} that are needed are there, {len(FORBIDDEN)} others are not")


if __name__ == "__main__":
    main()
