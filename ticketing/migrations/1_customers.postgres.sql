CREATE TABLE customers (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_name TEXT NOT NULL,
    last_name TEXT NOT NULL,
    idempotency_key TEXT UNIQUE
);
