"""What a statistician, a reviewer and a journal ask of a model, computed from predictions and refits."""
