# The service on AWS. Apply needs Terraform 1.11 (passwords are write-only: none is in the state).
#   terraform init
#   export TF_VAR_database_password=$(openssl rand -hex 24) TF_VAR_feedback_key=$(openssl rand -hex 32)  # each time
#   cp terraform.tfvars.example terraform.tfvars && cp backend.tf.example backend.tf   # and change them
#   terraform apply
# `terraform init` writes .terraform.lock.hcl with the provider's checksums: commit it beside your
# terraform.tfvars. None is here, because it names the registry it came from, which is yours to choose;
# the provider's exact version stands below all the same.
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
