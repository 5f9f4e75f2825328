resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.main.arn
}

data "aws_iam_policy_document" "topic" {
  statement {
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]
    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "events.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "email" {
  count     = var.alarm_email == null ? 0 : 1
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

locals {
  balancer = { LoadBalancer = aws_lb.main.arn_suffix, TargetGroup = aws_lb_target_group.api.arn_suffix }
  database = { DBInstanceIdentifier = aws_db_instance.mlflow.identifier }
  service  = { service = var.name }
  alarms = merge(local.always, var.train_schedule == null || var.train_expected_days == null ? {} : {
    train-missing = {
      what      = "No training has run for ${var.train_expected_days} days: look at the schedule."
      namespace = "AWS/Logs", metric = "IncomingLogEvents", dimensions = { LogGroupName = aws_cloudwatch_log_group.this["train"].name }
      statistic = "Sum", above = false, threshold = 1, times = var.train_expected_days, period = 86400, missing = "breaching"
    }
  })
  always = {
    no-model = {
      what      = "A task has had no model for ten minutes: no champion yet, or its metrics do not arrive."
      namespace = "Sentiment", metric = "sentiment_workers_ready", dimensions = local.service
      statistic = "Minimum", above = false, threshold = 1, times = 10, period = 60, missing = "breaching"
    }
    drift = {
      what      = "What comes in no longer looks like what was trained on: GET /model/drift."
      namespace = "Sentiment", metric = "sentiment_drift_detected", dimensions = local.service
      statistic = "Maximum", above = true, threshold = 0, times = 15, period = 60, missing = "notBreaching"
    }
    accuracy = {
      what      = "Users' corrections say that it is wrong more often than it was."
      namespace = "Sentiment", metric = "sentiment_drift_detected", dimensions = merge(local.service, { signal = "observed_accuracy" })
      statistic = "Maximum", above = true, threshold = 0, times = 5, period = 60, missing = "notBreaching"
    }
    unhealthy = {
      what      = "A task does not answer /health/live."
      namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount", dimensions = local.balancer
      statistic = "Maximum", above = true, threshold = 0, times = 5, period = 60, missing = "notBreaching"
    }
    no-task = {
      what      = "No task answers: callers get 503."
      namespace = "AWS/ApplicationELB", metric = "HealthyHostCount", dimensions = local.balancer
      statistic = "Minimum", above = false, threshold = 1, times = 2, period = 60, missing = "breaching"
    }
    errors = {
      what      = "The service answered with 5xx more than 10 times a minute."
      namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = local.balancer
      statistic = "Sum", above = true, threshold = 10, times = 3, period = 60, missing = "notBreaching"
    }
    latency = {
      what      = "The 95th percentile is above the objective."
      namespace = "AWS/ApplicationELB", metric = "TargetResponseTime", dimensions = local.balancer
      statistic = "p95", above = true, threshold = var.latency_objective, times = 5, period = 60, missing = "notBreaching"
    }
    database-storage = {
      what      = "MLflow's database has less than 2 GiB left."
      namespace = "AWS/RDS", metric = "FreeStorageSpace", dimensions = local.database
      statistic = "Minimum", above = false, threshold = 2147483648, times = 5, period = 60, missing = "notBreaching"
    }
    database-cpu = {
      what      = "MLflow's database is busy."
      namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = local.database
      statistic = "Average", above = true, threshold = 80, times = 15, period = 60, missing = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.what
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = each.value.above ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.times
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# A training that failed, was refused by the gate (both end with 1), or could not start.
resource "aws_cloudwatch_event_rule" "train_failed" {
  name        = "${var.name}-train-failed"
  description = "A training task ended with an error, or did not start"
  event_pattern = jsonencode({
    source        = ["aws.ecs"]
    "detail-type" = ["ECS Task State Change"]
    detail = {
      clusterArn = [aws_ecs_cluster.main.arn]
      group      = ["family:${aws_ecs_task_definition.train.family}"]
      lastStatus = ["STOPPED"]
      "$or" = [
        { containers = { exitCode = [{ "anything-but" = 0 }] } },
        { stopCode = ["TaskFailedToStart"] },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "train_failed" {
  rule = aws_cloudwatch_event_rule.train_failed.name
  arn  = aws_sns_topic.alarms.arn
}
