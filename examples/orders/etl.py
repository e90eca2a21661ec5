"""orders: copies the shop's tables of four shards. What is copied, and how: config.yaml."""

from etl_cli.runtime import Pipeline

pipeline = Pipeline.load(__file__)

if __name__ == "__main__":
    pipeline.main()
