-- Rejects by how their file was read, and with their very bytes; and each run's rejects, as a view.

ALTER TABLE rejects
ADD COLUMN declaration text NOT NULL DEFAULT '',
ADD COLUMN content_bytes bytea,
DROP CONSTRAINT rejects_pkey,
ADD PRIMARY KEY (source, file_digest, declaration, line);

COMMENT ON TABLE rejects IS
'Source lines that could not be parsed, whole; each written once however often its file is read in the same way.';
COMMENT ON COLUMN rejects.declaration IS
'Digest of how the file was read (columns, types, formats): a source that is declared anew is read anew.';
COMMENT ON COLUMN rejects.content IS
'The record as it stands in the file (a byte that is no text, and NUL, as \xNN); a JSON object or array of its values '
'when the source is Parquet or a database.';
COMMENT ON COLUMN rejects.content_bytes IS
'The record''s bytes, when it holds a NUL or what is no text in UTF-8; NULL when content is the record.';

COMMENT ON COLUMN quarantine.rows IS
'The subject''s rows of features: one, or several when that is the reason. NaN, infinities and -0 are '
'text; a NUL character, which SQL cannot hold, is the character U+FDD0 and then \x00.';

CREATE VIEW run_rejects AS
SELECT
    prediction_runs.run_id,
    prediction_runs.week,
    rejects.source,
    read_files.file ->> 'uri' AS uri,
    rejects.line,
    rejects.reason,
    rejects.content,
    rejects.content_bytes,
    rejects.file_digest,
    rejects.declaration,
    rejects.first_run_id,
    rejects.accepted_run_id
FROM prediction_runs
CROSS JOIN jsonb_each(prediction_runs.sources) AS read_sources (source, facts)
CROSS JOIN jsonb_array_elements(read_sources.facts -> 'files') AS read_files (file)
INNER JOIN rejects
    ON
        read_sources.source = rejects.source
        AND read_files.file ->> 'digest' = rejects.file_digest
        AND coalesce(read_files.file ->> 'declaration', '') = rejects.declaration;

COMMENT ON VIEW run_rejects IS
'The rejects of each run: those of the files it read, as it read them. A run that reuses a snapshot has its rejects.';
COMMENT ON COLUMN run_rejects.run_id IS 'The run.';
COMMENT ON COLUMN run_rejects.week IS 'Its week, named by its Monday.';
COMMENT ON COLUMN run_rejects.source IS 'The source, as pipeline.toml names it.';
COMMENT ON COLUMN run_rejects.uri IS 'Where the file was when the run read it.';
COMMENT ON COLUMN run_rejects.line IS 'Line of the file on which the record starts; the first line is 1.';
COMMENT ON COLUMN run_rejects.reason IS 'What is wrong with it.';
COMMENT ON COLUMN run_rejects.content IS
'The record as it stands in the file (a byte that is no text, and NUL, as \xNN); a JSON object or array of its values '
'when the source is Parquet or a database.';
COMMENT ON COLUMN run_rejects.content_bytes IS
'The record''s bytes, when it holds a NUL or what is no text in UTF-8; NULL when content is the record.';
COMMENT ON COLUMN run_rejects.file_digest IS 'SHA-256 of the file it stands in.';
COMMENT ON COLUMN run_rejects.declaration IS 'Digest of how the file was read.';
COMMENT ON COLUMN run_rejects.first_run_id IS 'The run that met it first.';
COMMENT ON COLUMN run_rejects.accepted_run_id IS
'The run whose error budget covered it; NULL while it counts as new, because every run that met it was stopped.';
