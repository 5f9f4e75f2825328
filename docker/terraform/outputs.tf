output "url" {
  description = "The load balancer; point the certificate's name at it."
  value       = "https://${aws_lb.main.dns_name}"
}

output "repositories" {
  description = "Where to push the two images, tagged image_tag."
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

output "alarm_topic" {
  description = "SNS topic of the alarms."
  value       = aws_sns_topic.alarms.arn
}

output "train_command" {
  description = "Train, register and promote now; the first run gives the service its first champion."
  value = join(" ", [
    "aws ecs run-task --region ${var.region} --cluster ${aws_ecs_cluster.main.name}",
    "--task-definition ${aws_ecs_task_definition.train.family} --launch-type FARGATE",
    "--network-configuration 'awsvpcConfiguration={subnets=[${join(",", aws_subnet.private[*].id)}],securityGroups=[${aws_security_group.this["train"].id}]}'",
  ])
}
