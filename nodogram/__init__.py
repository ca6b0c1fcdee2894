"""nodogram: deep-learning radiomics nomogram for lymph-node metastasis, from CT to probability."""

__version__ = "0.1.0"
