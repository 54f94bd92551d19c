-- The quarantined subjects, with the rows of the snapshot that were kept out.
SELECT customer_id, product_id, reasons, rows
FROM quarantine
WHERE run_id = $run_id
ORDER BY customer_id, product_id
