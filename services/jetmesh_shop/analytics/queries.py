"""What `jetmesh report` asks of the warehouse, in SQL; all times are UTC."""

ORDERS = """
CREATE OR REPLACE TEMP VIEW orders AS
SELECT key,
    min(time) FILTER (WHERE type = 'orders.placed') AS placed_at,
    min(time) FILTER (WHERE type = 'orders.confirmed') AS confirmed_at,
    min(time) FILTER (WHERE type = 'orders.cancelled') AS cancelled_at,
    min(time) FILTER (WHERE type = 'orders.refused') AS refused_at
FROM events WHERE type IN ('orders.placed', 'orders.confirmed', 'orders.cancelled', 'orders.refused')
GROUP BY key
"""

QUERIES = {
    "orders": """
        SELECT count(placed_at) AS placed, count(confirmed_at) AS confirmed, count(cancelled_at) AS cancelled,
            count(refused_at) AS refused,
            count(*) FILTER (WHERE confirmed_at IS NULL AND cancelled_at IS NULL AND refused_at IS NULL) AS pending,
            round(count(confirmed_at) / nullif(count(placed_at), 0), 4) AS conversion
        FROM orders
    """,
    "revenue": """
        SELECT data->>'currency' AS currency, count(*) AS payments,
            sum(try_cast(data->>'amount_minor' AS BIGINT))::BIGINT AS captured_minor
        FROM events WHERE type = 'payments.captured' GROUP BY 1 ORDER BY 1
    """,
    "confirmation": """
        SELECT count(*) AS confirmed, round(quantile_cont(seconds, 0.5), 4) AS p50_seconds,
            round(quantile_cont(seconds, 0.95), 4) AS p95_seconds, round(quantile_cont(seconds, 0.99), 4) AS p99_seconds
        FROM (SELECT (epoch_us(confirmed_at) - epoch_us(placed_at)) / 1e6 AS seconds FROM orders)
        WHERE seconds IS NOT NULL
    """,
    "minutes": """
        SELECT strftime(date_trunc('minute', placed_at), '%Y-%m-%dT%H:%MZ') AS minute, count(*) AS placed,
            count(confirmed_at) AS confirmed, count(cancelled_at) AS cancelled,
            round(quantile_cont((epoch_us(confirmed_at) - epoch_us(placed_at)) / 1e6, 0.5), 4) AS p50_seconds,
            round(quantile_cont((epoch_us(confirmed_at) - epoch_us(placed_at)) / 1e6, 0.95), 4) AS p95_seconds
        FROM orders WHERE placed_at IS NOT NULL GROUP BY 1 ORDER BY 1 DESC LIMIT 60
    """,
    "events": "SELECT type, count(*) AS stored FROM events GROUP BY 1 ORDER BY 1",
}
