"""The package that TFJob's samples call as `python -m trainer.task`."""
