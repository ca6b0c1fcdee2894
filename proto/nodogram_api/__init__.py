"""The gRPC interface of nodogram, as generated from its protobuf source."""
