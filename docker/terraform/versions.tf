# The service on AWS. Apply needs Terraform 1.11 (passwords are write-only: none is in the state).
#   terraform init
#   export TF_VAR_database_password=$(openssl rand -hex 24) TF_VAR_feedback_key=$(openssl rand -hex 32)  # each time
#   terraform apply -var certificate_arn=arn:aws:acm:... -var image_tag=1.2.3
# Keep the state in a bucket of your own: add a `backend "s3"` block in a file backend.tf.
terraform {
  required_version = ">= 1.11, < 2.0"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}

provider "aws" {
  region = var.region
  default_tags {
    tags = merge({ Application = var.name, ManagedBy = "terraform" }, var.tags)
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  zones     = [for letter in var.zones : "${var.region}${letter}"]
}
