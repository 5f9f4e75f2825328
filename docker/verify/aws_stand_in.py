"""Run moto's stand-in for AWS until SIGTERM, with what Terraform asks of it and moto lacks.

Prints one line, the address, once it answers. Needs the PyPI package ``moto[server]``.

The provider reads the tags of an autoscaling target after it has made one; moto has no
``ListTagsForResource`` there, so the tags of ``RegisterScalableTarget`` are remembered here.
The certificate that the load balancer names is requested first; its ARN is on the second line.
"""

import json
import os
import signal
import sys

os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
os.environ.setdefault("AWS_ACCESS_KEY_ID", "stand-in")
os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "stand-in")

import boto3
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.server import ThreadedMotoServer

TAGS: dict[str, dict[str, str]] = {}
register = ApplicationAutoScalingResponse.register_scalable_target


def register_scalable_target(self: ApplicationAutoScalingResponse) -> str:
    answer = register(self)
    tags = self._get_param("Tags")
    if tags:
        TAGS[json.loads(answer)["ScalableTargetARN"]] = dict(tags)
    return answer


def list_tags_for_resource(self: ApplicationAutoScalingResponse) -> str:
    return json.dumps({"Tags": TAGS.get(self._get_param("ResourceARN"), {})})


def main() -> None:
    region = sys.argv[1]
    ApplicationAutoScalingResponse.register_scalable_target = register_scalable_target
    ApplicationAutoScalingResponse.list_tags_for_resource = list_tags_for_resource
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    acm = boto3.client("acm", region_name=region, endpoint_url=address)
    print(address)
    print(acm.request_certificate(DomainName="api.example.com")["CertificateArn"], flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop()


if __name__ == "__main__":
    main()
