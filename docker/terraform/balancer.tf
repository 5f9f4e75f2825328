resource "aws_lb" "main" {
  # checkov:skip=CKV_AWS_150:deletion protection is on unless var.protect is turned off to destroy
  # checkov:skip=CKV2_AWS_28:only allowed_cidrs can call; the service itself limits sizes, queues and slow clients
  name                       = var.name
  internal                   = !var.internet_facing
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.this["balancer"].id]
  subnets                    = var.internet_facing ? aws_subnet.public[*].id : aws_subnet.private[*].id
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protect
  idle_timeout               = 60 # below the server's keep-alive of 75 s, so that only one side closes
  access_logs {
    bucket  = aws_s3_bucket.this["logs"].id
    prefix  = "balancer"
    enabled = true
  }
  depends_on = [aws_s3_bucket_policy.this]
}

resource "aws_lb_target_group" "api" {
  # checkov:skip=CKV_AWS_378:TLS ends at the load balancer; behind it only its security group can reach the tasks
  name                          = "${var.name}-api"
  port                          = 8000
  protocol                      = "HTTP"
  target_type                   = "ip"
  vpc_id                        = aws_vpc.main.id
  deregistration_delay          = max(10, var.drain_seconds)
  load_balancing_algorithm_type = "least_outstanding_requests"
  # By liveness: on an empty account there is no model yet, and tasks that wait for the first champion
  # must not be replaced for ever. A task brings its model before its server starts (model-pull), so that
  # with a champion a live task is a ready one; before a task stops, ECS takes it out of this group.
  health_check {
    path                = "/health/live"
    matcher             = "200"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.main.arn
  port              = 80
  protocol          = "HTTP"
  default_action {
    type = "redirect"
    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.main.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api.arn
  }
}

# What Prometheus and developers read is for the inside; the load balancer does not pass it on.
resource "aws_lb_listener_rule" "inside" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 1
  condition {
    path_pattern {
      values = ["/metrics", "/docs*", "/redoc*", "/openapi.json"]
    }
  }
  action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}
