-- packaging/postgres/temp_file_limit.sql - holds a role's temporary files to the ceiling of its tier, which no
-- startup parameter can. As a superuser:
--
--   psql -v role=acme -v temp_file_limit=1GB -f temp_file_limit.sql
--
-- For each server connection of that role, from its next login on. A role's own SET cannot raise it.
\set ON_ERROR_STOP on
ALTER ROLE :"role" SET temp_file_limit = :'temp_file_limit';
