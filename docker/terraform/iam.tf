# One role per thing that runs, each with what it needs and nothing else.
locals {
  roles = {
    execution      = "ecs-tasks.amazonaws.com" # starts tasks: pulls images, writes logs, reads secrets
    api            = "ecs-tasks.amazonaws.com" # models come from MLflow over HTTP; its collector writes metrics
    mlflow         = "ecs-tasks.amazonaws.com" # the only one that touches artifacts
    train          = "ecs-tasks.amazonaws.com" # reads the data bucket; artifacts go through MLflow
    scheduler      = "scheduler.amazonaws.com" # starts the training task
    flow-logs      = "vpc-flow-logs.amazonaws.com"
    rds-monitoring = "monitoring.rds.amazonaws.com"
  }
  secrets = compact([
    aws_secretsmanager_secret.database.arn,
    aws_secretsmanager_secret.feedback.arn,
    var.api_keys_secret_arn,
  ])
}

data "aws_iam_policy_document" "assume" {
  for_each = local.roles
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = [each.value]
    }
    # A service may act for this account only.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_iam_role" "this" {
  for_each           = local.roles
  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.assume[each.key].json
}

data "aws_iam_policy_document" "execution" {
  # checkov:skip=CKV_AWS_356:GetAuthorizationToken knows no resource
  statement {
    sid       = "SignIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
  statement {
    sid       = "Pull"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = [for repository in aws_ecr_repository.this : repository.arn]
  }
  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [for group in ["api", "mlflow", "train"] : "${aws_cloudwatch_log_group.this[group].arn}:*"]
  }
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = local.secrets
  }
  statement {
    sid       = "Decrypt"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.main.arn]
  }
}

data "aws_iam_policy_document" "mlflow" {
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.this["artifacts"].arn]
  }
  statement {
    sid       = "ReadWrite"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.this["artifacts"].arn}/*"]
  }
  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.main.arn]
  }
}

# The training reads what is labelled, in whatever version it is named, and changes nothing there.
data "aws_iam_policy_document" "train" {
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketLocation"]
    resources = [aws_s3_bucket.this["data"].arn]
  }
  statement {
    sid       = "Read"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${aws_s3_bucket.this["data"].arn}/*"]
  }
  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.main.arn]
  }
}

# The collector beside the server writes metrics as log events, from which CloudWatch makes metrics.
data "aws_iam_policy_document" "api" {
  statement {
    sid       = "Metrics"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = ["${aws_cloudwatch_log_group.this["metrics"].arn}:*"]
  }
}

data "aws_iam_policy_document" "scheduler" {
  # The schedule is stored under the key; the scheduler reads it with this role each time it runs.
  statement {
    sid       = "Schedule"
    actions   = ["kms:Decrypt"]
    resources = [aws_kms_key.main.arn]
  }
  statement {
    sid       = "Run"
    actions   = ["ecs:RunTask"]
    resources = ["${aws_ecs_task_definition.train.arn_without_revision}:*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.main.arn]
    }
  }
  statement {
    sid       = "HandOver"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.this["execution"].arn, aws_iam_role.this["train"].arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "flow_logs" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = ["${aws_cloudwatch_log_group.this["network"].arn}:*"]
  }
}

resource "aws_iam_role_policy" "this" {
  for_each = {
    execution = data.aws_iam_policy_document.execution.json
    api       = data.aws_iam_policy_document.api.json
    train     = data.aws_iam_policy_document.train.json
    mlflow    = data.aws_iam_policy_document.mlflow.json
    scheduler = data.aws_iam_policy_document.scheduler.json
    flow-logs = data.aws_iam_policy_document.flow_logs.json
  }
  name   = each.key
  role   = aws_iam_role.this[each.key].id
  policy = each.value
}

resource "aws_iam_role_policy_attachment" "rds_monitoring" {
  role       = aws_iam_role.this["rds-monitoring"].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
