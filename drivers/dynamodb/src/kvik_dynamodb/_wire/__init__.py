"""The wire transport: DynamoDB's HTTP API over pooled keep-alive connections of the driver's own."""
