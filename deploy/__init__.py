"""The cluster client: submits training jobs and promotes bundles."""
