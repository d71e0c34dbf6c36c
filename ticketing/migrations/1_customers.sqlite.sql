CREATE TABLE customers (
    -- AUTOINCREMENT: the number of a deleted customer is not given again.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    idempotency_key TEXT UNIQUE
) STRICT;
