-- packaging/postgres/side_role.sql - the role by which pgweir ends server processes whose time is up, and looks
-- at the settings of Postgres (pgweir --check-backend). As a superuser:
--
--   psql -v role=pgweir_side -v password=... -f side_role.sql
--
-- Its name and password go to backends.<name>.side_user and .side_password. It owns nothing, reads no table and
-- sees no query; it may signal processes of roles that are no superusers, and read all settings.
\set ON_ERROR_STOP on
BEGIN;
SELECT count(*) = 0 AS is_new FROM pg_catalog.pg_roles WHERE rolname = :'role' \gset
\if :is_new
CREATE ROLE :"role";
\endif
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'password';
GRANT pg_signal_backend, pg_read_all_settings TO :"role";
COMMIT;
