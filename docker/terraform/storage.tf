# One key for everything at rest.
resource "aws_kms_key" "main" {
  description             = "${var.name}: images, artifacts, data, logs, database, secrets"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "main" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.main.key_id
}

data "aws_iam_policy_document" "key" {
  # checkov:skip=CKV_AWS_109:a key policy's resource is the key itself
  # checkov:skip=CKV_AWS_111:a key policy's resource is the key itself
  # checkov:skip=CKV_AWS_356:a key policy's resource is the key itself
  statement {
    sid       = "AccountDecidesByIam"
    actions   = ["kms:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }
  statement {
    sid       = "Logs"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${local.partition}:logs:${var.region}:${local.account}:log-group:/${var.name}/*"]
    }
  }
  # CloudWatch's alarms, and EventBridge's word of a training that failed.
  statement {
    sid       = "AlarmsToTopic"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey*"]
    resources = ["*"]
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

# ---- container registry ----
resource "aws_ecr_repository" "this" {
  for_each             = toset(["serve", "train", "collector"])
  name                 = "${var.name}-${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.protect
  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = aws_kms_key.main.arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each   = aws_ecr_repository.this
  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "the last 30 images: enough to roll back"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 30 }
      action       = { type = "expire" }
    }]
  })
}

# ---- MLflow's artifacts, the data to train on, and the access logs of the load balancer and of both ----
resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_144:artifacts can be trained again and data has its source elsewhere; versions guard against mistakes, a second region is the owner's choice
  # checkov:skip=CKV2_AWS_62:nothing listens for objects; MLflow's database is the index
  # checkov:skip=CKV_AWS_18:artifacts and data are logged to the logs bucket; a log bucket does not log itself
  # checkov:skip=CKV2_AWS_6:aws_s3_bucket_public_access_block.this covers every bucket; the check cannot follow for_each
  # checkov:skip=CKV2_AWS_61:aws_s3_bucket_lifecycle_configuration.this covers every bucket
  # checkov:skip=CKV_AWS_21:aws_s3_bucket_versioning.this covers every bucket
  # checkov:skip=CKV_AWS_145:the log bucket can only use S3's own key (load balancer logs); the others use KMS
  for_each      = toset(["artifacts", "data", "logs"])
  bucket        = "${var.name}-${each.key}-${local.account}-${var.region}"
  force_destroy = !var.protect
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each                = aws_s3_bucket.this
  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id
  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id
  rule {
    bucket_key_enabled = each.key != "logs"
    apply_server_side_encryption_by_default {
      # Load balancers can only write to a bucket under S3's own key.
      sse_algorithm     = each.key == "logs" ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == "logs" ? null : aws_kms_key.main.arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = aws_s3_bucket.this
  bucket   = each.value.id
  rule {
    id     = "clean-up"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
    noncurrent_version_expiration {
      noncurrent_days = 90
    }
    dynamic "expiration" {
      for_each = each.key == "logs" ? [var.log_days] : []
      content {
        days = expiration.value
      }
    }
  }
  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_logging" "this" {
  for_each      = toset(["artifacts", "data"])
  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "s3/" # each line names its bucket
  depends_on    = [aws_s3_bucket_policy.this]
}

data "aws_iam_policy_document" "bucket" {
  for_each = aws_s3_bucket.this
  statement {
    sid       = "TlsOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
  dynamic "statement" {
    for_each = each.key == "logs" ? {
      "logdelivery.elasticloadbalancing.amazonaws.com" = "balancer/AWSLogs/${local.account}/*"
      "logging.s3.amazonaws.com"                       = "s3/*"
    } : {}
    content {
      actions   = ["s3:PutObject"]
      resources = ["${each.value.arn}/${statement.value}"]
      principals {
        type        = "Service"
        identifiers = [statement.key]
      }
      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each   = aws_s3_bucket.this
  bucket     = each.value.id
  policy     = data.aws_iam_policy_document.bucket[each.key].json
  depends_on = [aws_s3_bucket_public_access_block.this]
}

# ---- logs ----
resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_338:how long is the owner's choice; the default is a year
  for_each          = toset(["api", "mlflow", "train", "metrics", "network"])
  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = aws_kms_key.main.arn
}
