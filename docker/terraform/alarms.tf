resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = aws_kms_key.main.arn
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
  alarms = {
    unhealthy = {
      what      = "A task does not become ready: no champion yet, or model-sync cannot reach MLflow."
      namespace = "AWS/ApplicationELB", metric = "UnHealthyHostCount", dimensions = local.balancer
      statistic = "Maximum", above = true, threshold = 0, minutes = 5, missing = "notBreaching"
    }
    no-task = {
      what      = "Fewer than one ready task: callers get 503."
      namespace = "AWS/ApplicationELB", metric = "HealthyHostCount", dimensions = local.balancer
      statistic = "Minimum", above = false, threshold = 1, minutes = 2, missing = "breaching"
    }
    errors = {
      what      = "The service answered with 5xx more than 10 times a minute."
      namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = local.balancer
      statistic = "Sum", above = true, threshold = 10, minutes = 3, missing = "notBreaching"
    }
    latency = {
      what      = "The 95th percentile is above the objective."
      namespace = "AWS/ApplicationELB", metric = "TargetResponseTime", dimensions = local.balancer
      statistic = "p95", above = true, threshold = var.latency_objective, minutes = 5, missing = "notBreaching"
    }
    database-storage = {
      what      = "MLflow's database has less than 2 GiB left."
      namespace = "AWS/RDS", metric = "FreeStorageSpace", dimensions = local.database
      statistic = "Minimum", above = false, threshold = 2147483648, minutes = 5, missing = "notBreaching"
    }
    database-cpu = {
      what      = "MLflow's database is busy."
      namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = local.database
      statistic = "Average", above = true, threshold = 80, minutes = 15, missing = "notBreaching"
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
  period              = 60
  evaluation_periods  = each.value.minutes
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
