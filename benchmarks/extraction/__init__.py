"""Cost of radiomics extraction: against PyRadiomics and other engines, in memory, on several processes, on real scans."""
