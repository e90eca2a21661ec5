"""customers: copies active customers without their e-mail addresses and notes, and sums them up by country."""

import pyarrow.compute as pc

from etl_cli.runtime import Pipeline

pipeline = Pipeline.load(__file__)


@pipeline.filter("dbo.customers")
def active(row):  # row by row: those for which it is true stay
    return row["is_active"]


@pipeline.transform("dbo.customers")
def anonymous(batch):  # an Arrow batch of many rows at once
    domain = pc.replace_substring_regex(batch["email"], "^.*@", "")
    return batch.drop_columns(["email", "notes"]).append_column("email_domain", domain)


pipeline.sql("customers_by_country.sql", after=["copy"])

if __name__ == "__main__":
    pipeline.main()
