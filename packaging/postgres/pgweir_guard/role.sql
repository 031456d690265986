-- packaging/postgres/pgweir_guard/role.sql - gives a role its ceilings. As a superuser:
--
--   psql -v role=acme -v ceilings='work_mem=64MB, statement_timeout=60s' -v temp_file_limit=1GB -f role.sql
--
-- They hold for connections that the role makes from then on. temp_file_limit may be left out.
\set ON_ERROR_STOP on
BEGIN;
-- Where the module is loaded it checks what is given; elsewhere anything would be taken, and hold nothing.
DO $$
BEGIN
  IF current_setting('pgweir_guard.ceilings', true) IS NULL THEN
    RAISE EXCEPTION 'pgweir_guard is not loaded in this session'
      USING HINT = 'Set session_preload_libraries = ''pgweir_guard'' in postgresql.conf and connect again.';
  END IF;
END $$;
ALTER ROLE :"role" SET pgweir_guard.ceilings = :'ceilings';
\if :{?temp_file_limit}
ALTER ROLE :"role" SET temp_file_limit = :'temp_file_limit';
\endif
COMMIT;
