"""What a running pipeline uses; imports nothing from the other folders."""

from etl_cli.runtime.pipeline import Pipeline

__all__ = ["Pipeline"]
