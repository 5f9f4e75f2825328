# PostgreSQL behind MLflow. Its password is an ephemeral variable that goes to the database and to
# Secrets Manager only: write-only arguments are in no plan and no state.
resource "aws_secretsmanager_secret" "database" {
  # checkov:skip=CKV2_AWS_57:rotated by raising database_password_version, which changes the database too
  name                    = "${var.name}/database-password"
  kms_key_id              = aws_kms_key.main.arn
  recovery_window_in_days = var.protect ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "database" {
  secret_id                = aws_secretsmanager_secret.database.id
  secret_string_wo         = var.database_password
  secret_string_wo_version = var.database_password_version
}

# Signs prediction ids, so that any task can take the feedback to a prediction of another.
resource "aws_secretsmanager_secret" "feedback" {
  # checkov:skip=CKV2_AWS_57:a new key makes the ids handed out so far worthless; raise feedback_key_version when it leaked
  name                    = "${var.name}/feedback-key"
  kms_key_id              = aws_kms_key.main.arn
  recovery_window_in_days = var.protect ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "feedback" {
  secret_id                = aws_secretsmanager_secret.feedback.id
  secret_string_wo         = var.feedback_key
  secret_string_wo_version = var.feedback_key_version
}

resource "aws_db_subnet_group" "mlflow" {
  name       = "${var.name}-mlflow"
  subnet_ids = aws_subnet.private[*].id
}

resource "aws_db_parameter_group" "mlflow" {
  name   = "${var.name}-mlflow"
  family = "postgres16"
  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "log_statement"
    value = "ddl"
  }
  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }
}

resource "aws_db_instance" "mlflow" {
  # checkov:skip=CKV_AWS_161:MLflow signs in with a password from Secrets Manager; it cannot renew IAM tokens
  # checkov:skip=CKV_AWS_293:deletion protection is on unless var.protect is turned off to destroy
  # checkov:skip=CKV2_AWS_30:DDL and slow statements are logged; every query would be MLflow's own
  identifier     = "${var.name}-mlflow"
  engine         = "postgres"
  engine_version = "16"
  instance_class = var.database_size.class
  db_name        = "mlflow"
  username       = "mlflow"

  password_wo         = var.database_password
  password_wo_version = var.database_password_version

  allocated_storage     = var.database_size.storage
  max_allocated_storage = var.database_size.max_storage
  storage_type          = "gp3"
  storage_encrypted     = true
  kms_key_id            = aws_kms_key.main.arn

  db_subnet_group_name   = aws_db_subnet_group.mlflow.name
  parameter_group_name   = aws_db_parameter_group.mlflow.name
  vpc_security_group_ids = [aws_security_group.this["database"].id]
  publicly_accessible    = false
  multi_az               = true

  backup_retention_period         = 14
  copy_tags_to_snapshot           = true
  auto_minor_version_upgrade      = true
  deletion_protection             = var.protect
  skip_final_snapshot             = !var.protect
  final_snapshot_identifier       = "${var.name}-mlflow-final"
  enabled_cloudwatch_logs_exports = ["postgresql", "upgrade"]
  performance_insights_enabled    = true
  performance_insights_kms_key_id = aws_kms_key.main.arn
  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.this["rds-monitoring"].arn
}
