"""What Dockerfiles run: single files that need nothing but Python."""
