"""``nodogram bundle fetch``: the one bundle that was asked for, from wherever bundles are kept."""

from nodogram.bundle_fetch.fetch import FetchedBundle, fetch_bundle, parse_digest

__all__ = ["FetchedBundle", "fetch_bundle", "parse_digest"]
