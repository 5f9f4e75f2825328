"""Run moto's stand-in for AWS until SIGTERM, with what Terraform reads back and moto loses.

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
from moto.core.responses import ActionResult
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ecs.responses import EC2ContainerServiceResponse as Containers
from moto.rds.models import DBInstance, DBParameterGroup, RDSBackend
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


# What moto's database and service have no field for.
make_database = RDSBackend.create_db_instance
make_service = Containers.create_service


def create_db_instance(self: RDSBackend, asked: dict[str, Any]) -> DBInstance:
    database = make_database(self, asked)
    database.performance_insights_enabled = asked.get("enable_performance_insights", False)
    database.performance_insights_kms_key_id = asked.get("performance_insights_kms_key_id")
    return database


def create_service(self: Containers) -> ActionResult:
    answer = make_service(self)
    service = answer.result["service"]
    service.health_check_grace_period_seconds = self._get_param("healthCheckGracePeriodSeconds")
    service.availability_zone_rebalancing = self._get_param("availabilityZoneRebalancing")
    # moto starts no task of a service; Terraform waits until MLflow's runs.
    service.running_count = service.desired_count
    for deployment in service.deployments:
        deployment["runningCount"] = service.desired_count
    return answer


def main() -> None:
    Autoscaling.register_scalable_target = register_scalable_target
    Autoscaling.list_tags_for_resource = list_tags_for_resource
    SecurityGroupRule.__init__ = init_rule
    SecurityGroupRule.description = property(lambda self: self.said)
    DBParameterGroup.update_parameters = update_parameters
    RDSBackend.create_db_instance = create_db_instance
    Containers.create_service = create_service

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
