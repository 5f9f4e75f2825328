# `terraform test`: what the configuration would make, without an account.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/1" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/mock/1", arn_suffix = "app/mock/1" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/mock/1", arn_suffix = "targetgroup/mock/1" }
  }
  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/mock/1/1" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:mock" }
  }
  mock_resource "aws_ecs_task_definition" {
    defaults = {
      arn                  = "arn:aws:ecs:eu-central-1:123456789012:task-definition/mock:1"
      arn_without_revision = "arn:aws:ecs:eu-central-1:123456789012:task-definition/mock"
    }
  }
  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:123456789012:cluster/mock" }
  }
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:mock" }
  }
  mock_resource "aws_secretsmanager_secret" {
    defaults = { arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:mock" }
  }
  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:eu-central-1:123456789012:service/mock" }
  }
}

variables {
  image_tag        = "1.2.3"
  mlflow_image_tag = "1.2.0"
  certificate_arn  = "arn:aws:acm:eu-central-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"

  database_password = "not-a-real-password-0123456789"
  feedback_key      = "not-a-real-key-0123456789-0123456789"
}

run "defaults_are_closed" {
  command = apply

  assert {
    condition     = aws_lb.main.internal && !aws_db_instance.mlflow.publicly_accessible
    error_message = "By default nothing has a public address."
  }
  assert {
    condition     = alltrue([for block in aws_s3_bucket_public_access_block.this : block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets])
    error_message = "A bucket could become public."
  }
  assert {
    condition     = !aws_ecs_service.api.network_configuration[0].assign_public_ip && !aws_ecs_service.mlflow.network_configuration[0].assign_public_ip
    error_message = "A task has a public address."
  }
  assert {
    condition     = toset([for key, rule in aws_vpc_security_group_ingress_rule.balancer : rule.cidr_ipv4]) == toset(["10.0.0.0/8"])
    error_message = "Callers are those of allowed_cidrs."
  }
  assert {
    condition = alltrue(flatten([
      for task in [aws_ecs_task_definition.api, aws_ecs_task_definition.mlflow, aws_ecs_task_definition.train] : [
        for container in jsondecode(task.container_definitions) :
        container.readonlyRootFilesystem && container.user == "10001:10001" && toset([for mount in container.mountPoints : mount.containerPath]) == toset(["/data", "/tmp"])
      ]
    ]))
    error_message = "A container is root, or can write outside its volumes."
  }
  assert {
    condition     = alltrue([for container in jsondecode(aws_ecs_task_definition.api.container_definitions) : endswith(container.image, ":1.2.3") if container.name != "collector"])
    error_message = "An image has another tag than image_tag."
  }
  assert {
    condition     = endswith(jsondecode(aws_ecs_task_definition.mlflow.container_definitions)[0].image, ":1.2.0")
    error_message = "A release of the service would replace MLflow."
  }
  assert {
    condition     = [for container in jsondecode(aws_ecs_task_definition.api.container_definitions) : container.name if container.essential] == ["api"]
    error_message = "The service must go on without model-sync and collector."
  }
  # An empty account has no champion: nothing that waits for one may be replaced for it.
  assert {
    condition     = aws_lb_target_group.api.health_check[0].path == "/health/live"
    error_message = "Without a first champion no task would ever be healthy."
  }
  assert {
    condition = alltrue([
      jsondecode(aws_ecs_task_definition.api.container_definitions)[0].dependsOn == [{ condition = "SUCCESS", containerName = "model-pull" }],
      aws_ecs_service.mlflow.wait_for_steady_state,
    ])
    error_message = "With a champion, a live task must be a ready one, and MLflow must be there first."
  }
  assert {
    condition = alltrue([
      aws_s3_bucket_versioning.this["data"].versioning_configuration[0].status == "Enabled",
      length(aws_vpc_security_group_ingress_rule.mlflow) == 0,
    ])
    error_message = "The data is not versioned, or MLflow is open to somebody."
  }
  assert {
    condition = alltrue([for name in ["api", "train"] : contains(
      [for item in jsondecode(name == "api" ? aws_ecs_task_definition.api.container_definitions : aws_ecs_task_definition.train.container_definitions)[0].environment : item.name],
      "SENTIMENT_FEEDBACK_URL",
    )])
    error_message = "Feedback goes with the task that heard it."
  }
  assert {
    condition     = strcontains(local.collector, aws_cloudwatch_log_group.this["metrics"].name) && contains(keys(aws_cloudwatch_metric_alarm.this), "train-missing")
    error_message = "Metrics reach no alarm."
  }
}

run "options_reach_what_they_are_for" {
  command = apply
  variables {
    drain_seconds       = 60
    api_keys_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:keys"
    train_schedule      = null
    mlflow_cidrs        = ["10.8.0.0/16"]
    train_overrides     = ["experiment=best", "model.C=0.1"]
    alarm_email         = "on-call@example.com"
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.api.container_definitions)[0].stopTimeout >= 60 + 30 && jsondecode(aws_ecs_task_definition.api.container_definitions)[0].stopTimeout <= 120
    error_message = "stopTimeout must cover draining and the requests in flight, and Fargate allows 120 s."
  }
  assert {
    condition     = tonumber(aws_lb_target_group.api.deregistration_delay) >= 60
    error_message = "The load balancer must leave a task alone only after it has drained."
  }
  assert {
    condition     = contains([for secret in jsondecode(aws_ecs_task_definition.api.container_definitions)[0].secrets : secret.name], "SENTIMENT_API_KEYS")
    error_message = "The API keys do not reach the service."
  }
  assert {
    condition     = length(aws_scheduler_schedule.train) == 0 && !contains(keys(aws_cloudwatch_metric_alarm.this), "train-missing")
    error_message = "No schedule was asked for, and none is missed."
  }
  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.mlflow : rule.cidr_ipv4] == ["10.8.0.0/16"]
    error_message = "mlflow_cidrs does not reach MLflow."
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.train.container_definitions)[0].command == ["retrain"] && contains(jsondecode(aws_ecs_task_definition.train.container_definitions)[0].environment, { name = "SENTIMENT_TRAIN_ARGS", value = "experiment=best model.C=0.1" })
    error_message = "The training job runs something else."
  }
  assert {
    condition     = length(aws_sns_topic_subscription.email) == 1 && alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.alarm_actions == toset([aws_sns_topic.alarms.arn])])
    error_message = "An alarm reaches nobody."
  }
}

run "bad_values_are_refused" {
  command = plan
  variables {
    name                = "Sentiment_1"
    image_tag           = "latest"
    mlflow_image_tag    = "latest"
    collector_tag       = "latest"
    mlflow_cidrs        = ["0.0.0.0/0"]
    train_command       = []
    train_expected_days = 30
    certificate_arn     = "certificate"
    allowed_cidrs       = ["10.0.0.0/8", "everybody"]
    vpc_cidr            = "10.0.0.0/28"
    zones               = ["a", "a"]
    model               = "champion"
    api_size            = { cpu = 1024, memory = 1000 }
    api_tasks           = { min = 3, max = 2 }
    drain_seconds       = 90
    train_schedule      = "every monday"
    train_overrides     = ["model.C=0.1; rm -rf /"]
    database_size       = { class = "db.t4g.small", storage = 100, max_storage = 20 }
    log_days            = 31
    alarm_email         = "nobody"

    database_password = "short"
    feedback_key      = "short"
  }
  expect_failures = [
    var.name, var.image_tag, var.mlflow_image_tag, var.collector_tag, var.mlflow_cidrs, var.train_command, var.train_expected_days, var.certificate_arn, var.allowed_cidrs, var.vpc_cidr, var.zones, var.model,
    var.api_size, var.api_tasks, var.drain_seconds, var.train_schedule, var.train_overrides,
    var.database_size, var.log_days, var.alarm_email,
    var.database_password, var.feedback_key,
  ]
}
