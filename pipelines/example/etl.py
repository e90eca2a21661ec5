"""example: copies SQL Server shards into Postgres. What, when and how often: config.yaml."""

from etl_cli.runtime import Pipeline

pipeline = Pipeline.load(__file__)  # config.yaml and .env beside this file

if __name__ == "__main__":
    pipeline.main()  # python etl.py check | plan | run | serve
