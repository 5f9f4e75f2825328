variable "name" {
  description = "Prefix of every resource's name."
  type        = string
  default     = "sentiment"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "name: 2 to 20 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "zones" {
  description = "Letters of the two availability zones. Named, so that a new zone of the region moves nothing."
  type        = list(string)
  default     = ["a", "b"]
  validation {
    condition     = length(distinct(var.zones)) == 2 && alltrue([for letter in var.zones : can(regex("^[a-z]$", letter))])
    error_message = "zones: two different letters such as [\"a\", \"b\"]."
  }
}

variable "tags" {
  description = "Tags of every resource."
  type        = map(string)
  default     = {}
}

variable "image_tag" {
  description = "Tag of the service's and the training's image in the registry that this configuration makes. Tags are immutable."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.image_tag)) && var.image_tag != "latest"
    error_message = "image_tag: a version or commit, not \"latest\": a roll-back must be able to name it."
  }
}

variable "mlflow_image_tag" {
  description = "Tag of the training image that MLflow runs on. Raise it by itself: a new MLflow migrates its database when it starts."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.mlflow_image_tag)) && var.mlflow_image_tag != "latest"
    error_message = "mlflow_image_tag: a version or commit, not \"latest\"."
  }
}

variable "collector_tag" {
  description = "Tag of AWS' OpenTelemetry collector (amazon/aws-otel-collector) as pushed to this configuration's registry."
  type        = string
  default     = "v0.43.3"
  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$", var.collector_tag)) && var.collector_tag != "latest"
    error_message = "collector_tag: a version, not \"latest\"."
  }
}

variable "mlflow_cidrs" {
  description = "IPv4 networks connected to the VPC (VPN, peering) whose people may open MLflow in a browser, at the address in the output mlflow_uri."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for cidr in var.mlflow_cidrs : can(cidrnetmask(cidr)) && !endswith(cidr, "/0")])
    error_message = "mlflow_cidrs: IPv4 networks such as 10.8.0.0/16, not everybody: MLflow asks for no password here."
  }
}

variable "certificate_arn" {
  description = "ACM certificate of the load balancer."
  type        = string
  validation {
    condition     = can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn: the ARN of a certificate in ACM (arn:aws:acm:REGION:ACCOUNT:certificate/ID)."
  }
}

variable "allowed_cidrs" {
  description = "IPv4 networks that may call the service."
  type        = list(string)
  default     = ["10.0.0.0/8"]
  validation {
    condition     = length(var.allowed_cidrs) > 0 && alltrue([for cidr in var.allowed_cidrs : can(cidrnetmask(cidr))])
    error_message = "allowed_cidrs: at least one IPv4 network such as 203.0.113.0/24."
  }
}

variable "internet_facing" {
  description = "true: the load balancer has public addresses. false: it is reached from the VPC and what is connected to it."
  type        = bool
  default     = false
}

variable "vpc_cidr" {
  description = "Network of the VPC; a /16 to /22."
  type        = string
  default     = "10.60.0.0/16"
  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 22, false)
    error_message = "vpc_cidr: an IPv4 network from /16 to /22."
  }
}

variable "model" {
  description = "What the service follows in the registry."
  type        = string
  default     = "models:/sentiment@champion"
  validation {
    condition     = can(regex("^models:/[^/@]+(@[^/@]+|/[0-9]+)$", var.model))
    error_message = "model: models:/NAME@ALIAS or models:/NAME/VERSION."
  }
}

variable "api_size" {
  description = "CPU units and MiB of one service task (server and model-sync together); a size that Fargate has."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 1024, memory = 2048 }
  validation {
    condition = contains(
      lookup({ 512 = [1024, 2048, 3072, 4096], 1024 = [2048, 3072, 4096, 5120, 6144, 7168, 8192], 2048 = range(4096, 16385, 1024), 4096 = range(8192, 30721, 1024) }, var.api_size.cpu, []),
      var.api_size.memory
    )
    error_message = "api_size: not a Fargate size; for example {cpu = 1024, memory = 2048}."
  }
}

variable "api_tasks" {
  description = "Least and most service tasks."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 10 }
  validation {
    condition     = var.api_tasks.min >= 1 && var.api_tasks.max >= var.api_tasks.min && var.api_tasks.max <= 100
    error_message = "api_tasks: 1 <= min <= max <= 100."
  }
}

variable "requests_per_task" {
  description = "Requests per minute and task that autoscaling aims at (measure yours with `just bench-serve`)."
  type        = number
  default     = 30000
  validation {
    condition     = var.requests_per_task >= 60
    error_message = "requests_per_task: at least 60 a minute."
  }
}

variable "drain_seconds" {
  description = "How long a stopping task says it is not ready while it still serves."
  type        = number
  default     = 10
  validation {
    condition     = var.drain_seconds >= 0 && var.drain_seconds <= 60
    error_message = "drain_seconds: 0 to 60 (Fargate kills a task 120 seconds after SIGTERM)."
  }
}

variable "api_keys_secret_arn" {
  description = "Secrets Manager secret with comma-separated API keys (16 characters or more each); null: no key is asked for."
  type        = string
  default     = null
  validation {
    condition     = var.api_keys_secret_arn == null || can(regex("^arn:aws[a-z-]*:secretsmanager:", var.api_keys_secret_arn))
    error_message = "api_keys_secret_arn: the ARN of a secret in Secrets Manager."
  }
}

variable "train_schedule" {
  description = "When to retrain and register behind the gate, as an EventBridge expression; null: never."
  type        = string
  default     = "cron(0 3 ? * MON *)"
  validation {
    condition     = var.train_schedule == null || can(regex("^(cron|rate|at)\\(.+\\)$", var.train_schedule))
    error_message = "train_schedule: cron(...), rate(...) or null."
  }
}

variable "train_overrides" {
  description = "SENTIMENT_TRAIN_ARGS: what every training is told, e.g. [\"data=files\", \"data.train=s3://BUCKET/labels/*.csv\"] with the output data_bucket."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for word in var.train_overrides : can(regex("^[A-Za-z0-9_.+~@/:=,*?\\[\\]-]+$", word))])
    error_message = "train_overrides: words like model.C=0.1, without spaces or quotes."
  }
}

variable "train_command" {
  description = "The sentiment command that the schedule runs."
  type        = list(string)
  default     = ["retrain"]
  validation {
    condition     = length(var.train_command) > 0
    error_message = "train_command: at least one word."
  }
}

variable "train_expected_days" {
  description = "Raise an alarm when no training has run for so many days; null: never (for a schedule that is rarer than weekly)."
  type        = number
  default     = 7
  validation {
    condition     = var.train_expected_days == null || try(contains(range(1, 8), var.train_expected_days), false)
    error_message = "train_expected_days: 1 to 7 (CloudWatch looks back no further), or null."
  }
}

variable "database_size" {
  description = "Class and storage (GiB, and the most it may grow to) of MLflow's PostgreSQL."
  type        = object({ class = string, storage = number, max_storage = number })
  default     = { class = "db.t4g.small", storage = 20, max_storage = 100 }
  validation {
    condition     = startswith(var.database_size.class, "db.") && var.database_size.storage >= 20 && var.database_size.max_storage >= var.database_size.storage
    error_message = "database_size: a db.* class, storage of 20 GiB or more, max_storage not below it."
  }
}

variable "database_password" {
  description = "MLflow's database password. Draw a new one for every run: it is used by the first apply and when database_password_version is raised, and ignored otherwise."
  type        = string
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = can(regex("^[A-Za-z0-9-]{24,128}$", var.database_password))
    error_message = "database_password: 24 to 128 letters, digits and hyphens: TF_VAR_database_password=$(openssl rand -hex 24)."
  }
}

variable "database_password_version" {
  description = "Raise by one to set a new database password; then start MLflow's service again."
  type        = number
  default     = 1
}

variable "feedback_key" {
  description = "Signs prediction ids, so that any task can take the feedback to a prediction of another. Draw one for every run, as with database_password."
  type        = string
  ephemeral   = true
  sensitive   = true
  validation {
    condition     = can(regex("^[A-Za-z0-9-]{32,128}$", var.feedback_key))
    error_message = "feedback_key: 32 to 128 letters, digits and hyphens: TF_VAR_feedback_key=$(openssl rand -hex 32)."
  }
}

variable "feedback_key_version" {
  description = "Raise by one to set a new feedback key; then start the service again."
  type        = number
  default     = 1
}

variable "protect" {
  description = "true: the database, the load balancer and the bucket cannot be destroyed by mistake. Set to false, apply, then destroy."
  type        = bool
  default     = true
}

variable "log_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 365
  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "log_days: one of 30, 60, 90, 120, 150, 180, 365, 400, 545, 731."
  }
}

variable "alarm_email" {
  description = "Where alarms go; null: to the topic only."
  type        = string
  default     = null
  validation {
    condition     = var.alarm_email == null || can(regex("^[^@ ]+@[^@ ]+$", var.alarm_email))
    error_message = "alarm_email: an address."
  }
}

variable "latency_objective" {
  description = "Seconds that 95 % of the requests must stay below, or an alarm is raised."
  type        = number
  default     = 0.1
  validation {
    condition     = var.latency_objective > 0
    error_message = "latency_objective: seconds, above 0."
  }
}
