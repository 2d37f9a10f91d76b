CREATE TABLE answers (value integer);

INSERT INTO answers SELECT n * n FROM generate_series(1, 4) AS n;

