"""Small networks trained by this project: builders, committed weights and their training script."""
