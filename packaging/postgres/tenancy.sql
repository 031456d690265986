-- packaging/postgres/tenancy.sql - which tenant a server works for, told to row level security: pgweir.tenant().
--
--   openssl rand -hex 32 > tenant.secret        # the same as backends.<name>.tenant_secret of pgweir
--   psql -X -d app -v secret_file=tenant.secret -v users=app_role -f tenancy.sql
--
-- In each database whose tenants share a role; as a superuser, or at least as a role that no tenant is a member of
-- and that may make a schema: it will own what is made here. `users` is the role, or PUBLIC. May be run again, and
-- with another secret: then the old one holds, too, until its row of pgweir.tenant_keys is deleted. Postgres 13+.
--
-- The secret is a table that nobody may read but its owner and superusers. What is kept is not the secret itself but
-- its two blocks of HMAC (RFC 2104), so that a check needs no extension: sha256() is built in.
\set ON_ERROR_STOP on
\set secret `cat :'secret_file'`

-- The statements below hold the secret, and a server that logs statements would log them.
\set ON_ERROR_STOP off
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
\set ON_ERROR_STOP on

BEGIN;
SET LOCAL client_min_messages = warning;
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE SCHEMA IF NOT EXISTS pgweir;
CREATE TABLE IF NOT EXISTS pgweir.tenant_keys (
  id    text PRIMARY KEY,
  inner_block bytea NOT NULL CHECK (octet_length(inner_block) = 64),
  outer_block bytea NOT NULL CHECK (octet_length(outer_block) = 64)
);
REVOKE ALL ON pgweir.tenant_keys FROM PUBLIC;
ALTER TABLE pgweir.tenant_keys ENABLE ROW LEVEL SECURITY;  -- a GRANT by mistake shows nothing, either

-- The block of HMAC: the key, or its hash where it is longer than a block, with every byte xor `pad`.
CREATE OR REPLACE FUNCTION pgweir.hmac_block(secret bytea, pad integer) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  key constant bytea := CASE WHEN octet_length(secret) > 64 THEN sha256(secret) ELSE secret END;
  block bytea := decode(repeat('00', 64), 'hex');
BEGIN
  FOR i IN 0..63 LOOP
    block := set_byte(block, i, (CASE WHEN i < octet_length(key) THEN get_byte(key, i) ELSE 0 END) # pad);
  END LOOP;
  RETURN block;
END
$$;
REVOKE ALL ON FUNCTION pgweir.hmac_block(bytea, integer) FROM PUBLIC;

SELECT length(btrim(:'secret', E' \t\r\n')) < 32 AS too_short \gset
\if :too_short
DO $$ BEGIN RAISE EXCEPTION 'the secret must have at least 32 bytes'; END $$;
\endif
WITH block AS (
  SELECT pgweir.hmac_block(convert_to(:'secret', 'UTF8'), 54) AS inner_block,   -- 0x36
         pgweir.hmac_block(convert_to(:'secret', 'UTF8'), 92) AS outer_block    -- 0x5c
)
INSERT INTO pgweir.tenant_keys
SELECT encode(substr(sha256(outer_block || sha256(inner_block || 'pgweir tenancy key'::bytea)), 1, 8), 'hex'),
       inner_block, outer_block
FROM block
ON CONFLICT (id) DO NOTHING;

-- The tenant that pgweir has named to this server process, by pgweir.tenant_token:
--   1.<key>.<expires>.<pid>.<tenant in hex>.<HMAC of that, of the database and of the role, in hex>
-- Raises 42501 where there is no token, or one that is not good here and now: never NULL, so that a policy that
-- compares with it cannot be true by mistake, and an expired one is not taken for an empty table.
--
-- Restricted to the leader of a parallel query: a worker has another pid. Stable, since it says the same throughout
-- a transaction; an expiry is compared with the transaction's beginning, so that none ends in the middle of one.
CREATE OR REPLACE FUNCTION pgweir.tenant() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER COST 2000
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  token constant text := current_setting('pgweir.tenant_token', true);
  part  constant text[] := string_to_array(token, '.');
  key   pgweir.tenant_keys;
  mac   bytea;
BEGIN
  IF token IS NULL OR token = '' THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'no tenant is known on this connection',
      HINT = 'Connect through pgweir, with backends.<name>.tenant_secret set.';
  END IF;
  IF token !~ '^1\.[0-9a-f]{16}\.[0-9]{1,12}\.[0-9]{1,10}\.([0-9a-f]{2}){1,63}\.[0-9a-f]{64}$' THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'the tenant token is not one of pgweir';
  END IF;
  SELECT * INTO key FROM pgweir.tenant_keys WHERE id = part[2];
  mac := sha256(key.outer_block || sha256(key.inner_block || convert_to(concat_ws('.',
    part[1], part[2], part[3], part[4], part[5],
    encode(convert_to(current_database()::text, 'UTF8'), 'hex'),
    encode(convert_to(session_user::text, 'UTF8'), 'hex')), 'UTF8')));
  -- Of hashes, so that the time that comparing takes tells nothing of the right one.
  IF mac IS NULL OR sha256(mac) <> sha256(decode(part[6], 'hex')) THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'the tenant token is not one of pgweir';
  END IF;
  IF part[4]::bigint <> pg_backend_pid() THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'the tenant token is for another connection';
  END IF;
  IF part[3]::bigint < extract(epoch FROM transaction_timestamp()) THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'the tenant token has expired',
      HINT = 'pgweir renews it between two transactions; see backends.<name>.tenant_token_life, and the clocks.';
  END IF;
  RETURN convert_from(decode(part[5], 'hex'), 'UTF8');
END
$$;
REVOKE ALL ON FUNCTION pgweir.tenant() FROM PUBLIC;
SELECT upper(:'users') = 'PUBLIC' AS for_all \gset
\if :for_all
GRANT USAGE ON SCHEMA pgweir TO PUBLIC;
GRANT EXECUTE ON FUNCTION pgweir.tenant() TO PUBLIC;
\else
GRANT USAGE ON SCHEMA pgweir TO :"users";
GRANT EXECUTE ON FUNCTION pgweir.tenant() TO :"users";
\endif
COMMENT ON FUNCTION pgweir.tenant() IS 'the tenant that pgweir has named to this server process';
COMMENT ON TABLE pgweir.tenant_keys IS 'what tokens of tenants are checked by; nobody but its owner may read it';
COMMIT;
