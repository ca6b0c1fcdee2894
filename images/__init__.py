"""Building the container images, also where no registry can be reached."""
