"""Version 1: messages in ``nomogram_pb2``, client and server stubs in ``nomogram_pb2_grpc``."""
