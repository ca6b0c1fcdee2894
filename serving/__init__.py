"""The server: HTTP and gRPC adapters over one predictor."""
