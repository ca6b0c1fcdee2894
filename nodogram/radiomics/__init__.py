"""PyRadiomics features of a prepared case."""
