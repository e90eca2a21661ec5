CREATE TABLE IF NOT EXISTS customers_by_country (
    country char(2) PRIMARY KEY,
    customers bigint NOT NULL,
    credit_limit numeric(19, 4) NOT NULL
);

DELETE FROM customers_by_country;

INSERT INTO customers_by_country
SELECT country, count(*), coalesce(sum(credit_limit), 0)
FROM active_customers
GROUP BY country;
