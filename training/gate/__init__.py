"""Whether a retrained model may replace the one in use: rules fixed beforehand, figures, a signed record."""
