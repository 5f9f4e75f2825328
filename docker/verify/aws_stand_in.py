"""Run moto's stand-in for AWS until SIGTERM, with four things that Terraform reads back and moto loses.

Usage: ``aws_stand_in.py REGION``. Prints two lines: its address once it answers, and the ARN of a
certificate that the load balancer can name. Needs the PyPI package ``moto[server]``.
"""
# ruff: noqa: T201

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable
from typing import Any

os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
os.environ.setdefault("AWS_ACCESS_KEY_ID", "stand-in")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "stand-in")

import boto3
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse as Autoscaling
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.rds.models import DBParameterGroup
from moto.server import ThreadedMotoServer

# The tags of an autoscaling target: moto has no ListTagsForResource.
TAGS: dict[str, dict[str, str]] = {}
register = Autoscaling.register_scalable_target


def register_scalable_target(self: Autoscaling) -> str:
    answer = register(self)
    tags = self._get_param("Tags")
    if tags:
        TAGS[json.loads(answer)["ScalableTargetARN"]] = dict(tags)
    return answer


def list_tags_for_resource(self: Autoscaling) -> str:
    return json.dumps({"Tags": TAGS.get(self._get_param("ResourceARN"), {})})


# The description of a rule whose other end is a group or a prefix list: moto keeps it for networks.
make_rule = SecurityGroupRule.__init__


def init_rule(self: SecurityGroupRule, *args: Any, **options: Any) -> None:
    make_rule(self, *args, **options)
    places = (*args, *options.values())
    said = [
        place["Description"]
        for place in places
        if isinstance(place, dict) and "Description" in place
    ]
    self.said = said[0] if said else None


# Who set a database parameter: the provider reads back only those with the source "user".
update = DBParameterGroup.update_parameters


def update_parameters(self: DBParameterGroup, parameters: Iterable[dict[str, Any]]) -> None:
    update(self, [{**parameter, "Source": "user"} for parameter in parameters])


def main() -> None:
    Autoscaling.register_scalable_target = register_scalable_target
    Autoscaling.list_tags_for_resource = list_tags_for_resource
    SecurityGroupRule.__init__ = init_rule
    SecurityGroupRule.description = property(lambda self: self.said)
    DBParameterGroup.update_parameters = update_parameters

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    acm = boto3.client("acm", region_name=sys.argv[1], endpoint_url=address)
    arn = acm.request_certificate(DomainName="api.example.com")["CertificateArn"]
    print(address, arn, sep="\n", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop()


if __name__ == "__main__":
    main()
