"""What serving costs: batching, protocols, latency by stage, behavior under load."""
