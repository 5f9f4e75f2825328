# MLflow, the service and the training job on Fargate. The containers are those of docker/compose.yaml.
locals {
  # MLflow's tag is its own: a release of the service does not replace MLflow.
  image = {
    serve     = "${aws_ecr_repository.this["serve"].repository_url}:${var.image_tag}"
    train     = "${aws_ecr_repository.this["train"].repository_url}:${var.image_tag}"
    mlflow    = "${aws_ecr_repository.this["train"].repository_url}:${var.mlflow_image_tag}"
    collector = "${aws_ecr_repository.this["collector"].repository_url}:${var.collector_tag}"
  }
  mlflow_uri = "http://mlflow.${var.name}.internal:5000"

  registry = [
    { name = "MLFLOW_TRACKING_URI", value = local.mlflow_uri },
    # Artifacts through MLflow, whose role alone reads the bucket.
    { name = "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", value = "false" },
  ]

  # Where corrections outlive their task, known to every other one. The password is libpq's own PGPASSWORD.
  feedback = [
    { name = "SENTIMENT_FEEDBACK_URL", value = "postgresql://mlflow@${aws_db_instance.mlflow.address}:5432/mlflow?sslmode=require" },
  ]
  database_password = [{ name = "PGPASSWORD", valueFrom = aws_secretsmanager_secret.database.arn }]

  # What alarms read, from the server's /metrics; the rest of it is for a Prometheus of your own.
  collector = yamlencode({
    receivers = {
      prometheus = { config = { scrape_configs = [{
        job_name        = "sentiment"
        scrape_interval = "60s"
        static_configs  = [{ targets = ["127.0.0.1:8000"], labels = { service = var.name } }]
      }] } }
    }
    exporters = {
      awsemf = {
        namespace               = "Sentiment"
        region                  = var.region
        log_group_name          = aws_cloudwatch_log_group.this["metrics"].name
        dimension_rollup_option = "NoDimensionRollup"
        metric_declarations = [
          { dimensions = [["service"]], metric_name_selectors = ["^sentiment_workers_ready$"] },
          { dimensions = [["service"], ["service", "signal"]], metric_name_selectors = ["^sentiment_drift_detected$"] },
        ]
      }
    }
    service = { pipelines = { metrics = { receivers = ["prometheus"], exporters = ["awsemf"] } } }
  })

  # What every container of every task has: no root, nothing to write but its volumes.
  container = {
    essential              = true
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    linuxParameters        = { initProcessEnabled = false, capabilities = { drop = ["ALL"] } }
    mountPoints = [
      { sourceVolume = "data", containerPath = "/data", readOnly = false },
      { sourceVolume = "tmp", containerPath = "/tmp", readOnly = false },
    ]
  }
  log = {
    for group in ["api", "mlflow", "train"] : group => {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this[group].name
        awslogs-region        = var.region
        awslogs-stream-prefix = group
      }
    }
  }
}

resource "aws_ecs_cluster" "main" {
  name = var.name
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_service_discovery_private_dns_namespace" "main" {
  name        = "${var.name}.internal"
  description = "Where tasks find MLflow"
  vpc         = aws_vpc.main.id
}

resource "aws_service_discovery_service" "mlflow" {
  name = "mlflow"
  dns_config {
    namespace_id = aws_service_discovery_private_dns_namespace.main.id
    dns_records {
      type = "A"
      ttl  = 10
    }
  }
}

# ---- MLflow ----
resource "aws_ecs_task_definition" "mlflow" {
  family                   = "${var.name}-mlflow"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 1024
  memory                   = 2048
  execution_role_arn       = aws_iam_role.this["execution"].arn
  task_role_arn            = aws_iam_role.this["mlflow"].arn
  volume {
    name = "data"
  }
  volume {
    name = "tmp"
  }
  container_definitions = jsonencode([merge(local.container, {
    name       = "mlflow"
    image      = local.image["mlflow"]
    entryPoint = ["mlflow"]
    command = [
      "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "1",
      # The rest of the address, name and password included, is in libpq's own variables.
      "--backend-store-uri", "postgresql+psycopg2://",
      "--artifacts-destination", "s3://${aws_s3_bucket.this["artifacts"].id}/mlflow",
    ]
    environment = [
      { name = "PGHOST", value = aws_db_instance.mlflow.address },
      { name = "PGDATABASE", value = "mlflow" },
      { name = "PGUSER", value = "mlflow" },
      { name = "PGSSLMODE", value = "require" },
      { name = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", value = "false" },
      # People reach it under the same name: see mlflow_cidrs.
      { name = "MLFLOW_SERVER_ALLOWED_HOSTS", value = "mlflow.${var.name}.internal:5000,127.0.0.1:5000" },
    ]
    secrets          = local.database_password
    portMappings     = [{ containerPort = 5000, protocol = "tcp" }]
    logConfiguration = local.log["mlflow"]
    stopTimeout      = 30
    healthCheck = {
      command     = ["CMD", "python3", "-IS", "/opt/healthcheck.py", "5000", "/health"]
      interval    = 15
      timeout     = 5
      retries     = 3
      startPeriod = 120
    }
  })])
  depends_on = [aws_secretsmanager_secret_version.database]
}

resource "aws_ecs_service" "mlflow" {
  name            = "mlflow"
  cluster         = aws_ecs_cluster.main.id
  task_definition = aws_ecs_task_definition.mlflow.arn
  desired_count   = 1
  launch_type     = "FARGATE"
  # One at a time: two versions must not migrate one database together. The service goes on meanwhile.
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = aws_subnet.private[*].id
    security_groups  = [aws_security_group.this["mlflow"].id]
    assign_public_ip = false
  }
  service_registries {
    registry_arn = aws_service_discovery_service.mlflow.arn
  }
  # The service's tasks ask MLflow before they start: they are made when it answers.
  wait_for_steady_state = true
}

# ---- the service: the server, and beside it what brings it models ----
resource "aws_ecs_task_definition" "api" {
  family                   = "${var.name}-api"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.api_size.cpu
  memory                   = var.api_size.memory
  execution_role_arn       = aws_iam_role.this["execution"].arn
  task_role_arn            = aws_iam_role.this["api"].arn
  volume {
    name = "data"
  }
  volume {
    name = "tmp"
  }
  container_definitions = jsonencode([
    merge(local.container, {
      name    = "api"
      image   = local.image["serve"]
      command = ["serve"]
      # The model first: see the target group's health check.
      dependsOn = [{ containerName = "model-pull", condition = "SUCCESS" }]
      environment = concat(local.feedback, [
        { name = "SENTIMENT_HOST", value = "0.0.0.0" },
        { name = "SENTIMENT_PORT", value = "8000" },
        { name = "SENTIMENT_WAIT_FOR_MODEL", value = "1" },
        { name = "SENTIMENT_MODEL", value = "champion" },
        { name = "SENTIMENT_DRAIN_SECONDS", value = tostring(var.drain_seconds) },
        { name = "SENTIMENT_WORKERS", value = tostring(max(1, floor(var.api_size.cpu / 1024))) },
        { name = "SENTIMENT_FORWARDED_ALLOW_IPS", value = "*" },
      ])
      secrets = concat(
        local.database_password,
        [{ name = "SENTIMENT_FEEDBACK_KEY", valueFrom = aws_secretsmanager_secret.feedback.arn }],
        var.api_keys_secret_arn == null ? [] : [{ name = "SENTIMENT_API_KEYS", valueFrom = var.api_keys_secret_arn }],
      )
      portMappings     = [{ containerPort = 8000, protocol = "tcp" }]
      logConfiguration = local.log["api"]
      # Drain, then at most 30 s for the requests in flight, then a little.
      stopTimeout = var.drain_seconds + 35
      healthCheck = {
        command     = ["CMD", "python3", "-IS", "/opt/healthcheck.py"]
        interval    = 10
        timeout     = 5
        retries     = 3
        startPeriod = 20
      }
    }),
    # Waits for MLflow, brings the champion, and ends. Without a champion (2) the server starts without a
    # model; with an MLflow that does not answer the task gives up and the tasks before it stay.
    merge(local.container, {
      name       = "model-pull"
      image      = local.image["train"]
      entryPoint = ["sh", "-c"]
      command    = ["until sentiment models pull '${var.model}'; do [ $? != 2 ] || exit 0; sleep 5; done"]
      essential  = false
      # The most that Fargate allows.
      startTimeout     = 120
      environment      = local.registry
      logConfiguration = local.log["api"]
    }),
    merge(local.container, {
      name    = "model-sync"
      image   = local.image["train"]
      command = ["models", "pull", var.model, "--watch", "15"]
      # The server answers with what it has while this is away.
      essential        = false
      restartPolicy    = { enabled = true, restartAttemptPeriod = 60 }
      environment      = local.registry
      logConfiguration = local.log["api"]
    }),
    # AWS' distribution of the OpenTelemetry collector: metrics for the alarms.
    merge(local.container, {
      name             = "collector"
      image            = local.image["collector"]
      essential        = false
      restartPolicy    = { enabled = true, restartAttemptPeriod = 60 }
      environment      = [{ name = "AOT_CONFIG_CONTENT", value = local.collector }]
      logConfiguration = local.log["api"]
    }),
  ])
  depends_on = [aws_secretsmanager_secret_version.feedback, aws_secretsmanager_secret_version.database]
}

resource "aws_ecs_service" "api" {
  name                               = "api"
  cluster                            = aws_ecs_cluster.main.id
  task_definition                    = aws_ecs_task_definition.api.arn
  desired_count                      = var.api_tasks.min
  launch_type                        = "FARGATE"
  health_check_grace_period_seconds  = 180
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = aws_subnet.private[*].id
    security_groups  = [aws_security_group.this["api"].id]
    assign_public_ip = false
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.api.arn
    container_name   = "api"
    container_port   = 8000
  }
  lifecycle {
    ignore_changes = [desired_count] # autoscaling's
  }
  depends_on = [aws_lb_listener.https, aws_ecs_service.mlflow]
}

resource "aws_appautoscaling_target" "api" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.main.name}/${aws_ecs_service.api.name}"
  min_capacity       = var.api_tasks.min
  max_capacity       = var.api_tasks.max
}

resource "aws_appautoscaling_policy" "api" {
  for_each = {
    cpu      = { metric = "ECSServiceAverageCPUUtilization", target = 60, label = null }
    requests = { metric = "ALBRequestCountPerTarget", target = var.requests_per_task, label = "${aws_lb.main.arn_suffix}/${aws_lb_target_group.api.arn_suffix}" }
  }
  name               = "${var.name}-${each.key}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.api.service_namespace
  scalable_dimension = aws_appautoscaling_target.api.scalable_dimension
  resource_id        = aws_appautoscaling_target.api.resource_id
  target_tracking_scaling_policy_configuration {
    target_value       = each.value.target
    scale_out_cooldown = 60
    scale_in_cooldown  = 300
    predefined_metric_specification {
      predefined_metric_type = each.value.metric
      resource_label         = each.value.label
    }
  }
}

# ---- training: on the data bucket and what users corrected; promotes only what passes the gate ----
resource "aws_ecs_task_definition" "train" {
  family                   = "${var.name}-train"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 4096
  memory                   = 16384
  execution_role_arn       = aws_iam_role.this["execution"].arn
  task_role_arn            = aws_iam_role.this["train"].arn
  volume {
    name = "data"
  }
  volume {
    name = "tmp"
  }
  container_definitions = jsonencode([merge(local.container, {
    name       = "train"
    image      = local.image["train"]
    entryPoint = ["sentiment"]
    command    = var.train_command
    environment = concat(local.registry, local.feedback, [
      { name = "SENTIMENT_TRAIN_ARGS", value = join(" ", var.train_overrides) },
      { name = "AWS_DEFAULT_REGION", value = var.region },
    ])
    secrets          = local.database_password
    logConfiguration = local.log["train"]
  })])
  depends_on = [aws_secretsmanager_secret_version.database]
}

resource "aws_scheduler_schedule" "train" {
  count               = var.train_schedule == null ? 0 : 1
  name                = "${var.name}-train"
  schedule_expression = var.train_schedule
  kms_key_arn         = aws_kms_key.main.arn
  flexible_time_window {
    mode = "OFF"
  }
  target {
    arn      = aws_ecs_cluster.main.arn
    role_arn = aws_iam_role.this["scheduler"].arn
    ecs_parameters {
      task_definition_arn = aws_ecs_task_definition.train.arn
      launch_type         = "FARGATE"
      network_configuration {
        subnets          = aws_subnet.private[*].id
        security_groups  = [aws_security_group.this["train"].id]
        assign_public_ip = false
      }
    }
    retry_policy {
      maximum_retry_attempts = 1
    }
  }
}
