"""Nearest neighbours within a partition, over any store of entries: `FaissIndex`."""

from tokenwise_core.cache.index.faiss_index import FaissIndex, IndexStats

__all__ = ["FaissIndex", "IndexStats"]
