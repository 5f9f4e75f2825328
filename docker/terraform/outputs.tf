output "url" {
  description = "The load balancer; point the certificate's name at it."
  value       = "https://${aws_lb.main.dns_name}"
}

output "repositories" {
  description = "Where to push the images: serve and train under image_tag (train under mlflow_image_tag too), collector under collector_tag."
  value       = { for kind, repository in aws_ecr_repository.this : kind => repository.repository_url }
}

output "mlflow_uri" {
  description = "MLflow's address inside the VPC."
  value       = local.mlflow_uri
}

output "artifact_bucket" {
  description = "Where MLflow keeps its artifacts."
  value       = aws_s3_bucket.this["artifacts"].id
}

output "data_bucket" {
  description = "Where to put what is to be trained on; train_overrides names it: data.train=s3://BUCKET/labels/*.csv."
  value       = aws_s3_bucket.this["data"].id
}

output "alarm_topic" {
  description = "SNS topic of the alarms."
  value       = aws_sns_topic.alarms.arn
}

locals {
  run_task = join(" ", [
    "aws ecs run-task --region ${var.region} --cluster ${aws_ecs_cluster.main.name}",
    "--task-definition ${aws_ecs_task_definition.train.family} --launch-type FARGATE",
    "--network-configuration 'awsvpcConfiguration={subnets=[${join(",", aws_subnet.private[*].id)}],securityGroups=[${aws_security_group.this["train"].id}]}'",
  ])
}

output "train_command" {
  description = "Retrain now, as the schedule does; the first run gives the service its first champion."
  value       = local.run_task
}

output "rollback_command" {
  description = "Back to the champion before; any other `sentiment` command goes the same way."
  value       = "${local.run_task} --overrides '${jsonencode({ containerOverrides = [{ name = "train", command = ["models", "rollback"] }] })}'"
}
