"""A Kubernetes API emulator: enough of an API server, controllers and a kubelet to run charts and clients against it.

Strict where clients can be wrong (schemas, unknown fields, resource versions, immutable fields, watches, preconditions), absent
where only a real cluster can be right (admission, defaults, rights, field ownership, scheduling by anything but capacity).
Whoever passes here has been tested against an emulator.
"""
