# Two zones. Only the load balancer may have public addresses; tasks and database have no route to
# the internet at all and reach AWS through endpoints.
resource "aws_vpc" "main" {
  cidr_block           = var.vpc_cidr
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# The group that everything without a group of its own would get: nothing in, nothing out.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.main.id
}

resource "aws_subnet" "public" {
  count             = 2
  vpc_id            = aws_vpc.main.id
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, count.index)
  availability_zone = local.zones[count.index]
  tags              = { Name = "${var.name}-public-${count.index}" }
}

resource "aws_subnet" "private" {
  count             = 2
  vpc_id            = aws_vpc.main.id
  cidr_block        = cidrsubnet(var.vpc_cidr, 4, count.index + 2)
  availability_zone = local.zones[count.index]
  tags              = { Name = "${var.name}-private-${count.index}" }
}

resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = var.name }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.name}-public" }
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.main.id
}

resource "aws_route_table_association" "public" {
  count          = 2
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.main.id
  tags   = { Name = "${var.name}-private" }
}

resource "aws_route_table_association" "private" {
  count          = 2
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private.id
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.main.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.private.id]
  tags            = { Name = "${var.name}-s3" }
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = toset(["ecr.api", "ecr.dkr", "logs", "secretsmanager"])
  vpc_id              = aws_vpc.main.id
  service_name        = "com.amazonaws.${var.region}.${each.key}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = aws_subnet.private[*].id
  security_group_ids  = [aws_security_group.this["endpoints"].id]
  tags                = { Name = "${var.name}-${each.key}" }
}

# ---- who may talk to whom ----
locals {
  groups = {
    balancer  = "Load balancer: from the allowed networks"
    api       = "Service tasks: from the load balancer"
    mlflow    = "MLflow: from the service's model-sync, from training and from mlflow_cidrs"
    train     = "Training tasks: nothing calls them"
    database  = "PostgreSQL: from MLflow; feedback: from the service and training"
    endpoints = "AWS endpoints: from the tasks"
  }
  # from -> to, on a port
  flows = {
    balancer-api     = { from = "balancer", to = "api", port = 8000 }
    api-mlflow       = { from = "api", to = "mlflow", port = 5000 }
    train-mlflow     = { from = "train", to = "mlflow", port = 5000 }
    mlflow-database  = { from = "mlflow", to = "database", port = 5432 }
    api-database     = { from = "api", to = "database", port = 5432 }
    train-database   = { from = "train", to = "database", port = 5432 }
    api-endpoints    = { from = "api", to = "endpoints", port = 443 }
    mlflow-endpoints = { from = "mlflow", to = "endpoints", port = 443 }
    train-endpoints  = { from = "train", to = "endpoints", port = 443 }
  }
}

resource "aws_security_group" "this" {
  # checkov:skip=CKV2_AWS_5:every group is attached, by for_each keys that the check cannot follow
  for_each    = local.groups
  name        = "${var.name}-${each.key}"
  description = each.value
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${var.name}-${each.key}" }
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each                     = local.flows
  description                  = each.key
  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each                     = local.flows
  description                  = each.key
  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
}

# Image layers, artifacts and the data to train on come from S3 through its gateway.
resource "aws_vpc_security_group_egress_rule" "s3" {
  for_each          = toset(["api", "mlflow", "train"])
  description       = "${each.key}-s3"
  security_group_id = aws_security_group.this[each.key].id
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  for_each = {
    for pair in setproduct(var.allowed_cidrs, ["80", "443"]) : "${pair[0]}-${pair[1]}" => pair
  }
  description       = "callers, port ${each.value[1]}"
  security_group_id = aws_security_group.this["balancer"].id
  cidr_ipv4         = each.value[0]
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value[1])
  to_port           = tonumber(each.value[1])
}

# People who look at MLflow come from networks that are connected to the VPC (VPN, peering).
resource "aws_vpc_security_group_ingress_rule" "mlflow" {
  for_each          = toset(var.mlflow_cidrs)
  description       = "MLflow in a browser"
  security_group_id = aws_security_group.this["mlflow"].id
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 5000
  to_port           = 5000
}

resource "aws_flow_log" "vpc" {
  vpc_id               = aws_vpc.main.id
  traffic_type         = "REJECT"
  log_destination_type = "cloud-watch-logs"
  log_destination      = aws_cloudwatch_log_group.this["network"].arn
  iam_role_arn         = aws_iam_role.this["flow-logs"].arn
}
