-- packaging/postgres/tenant_store.sql - the tables of tenant_store.kind postgres, on a platform's database.
--
--   psql -X -v ON_ERROR_STOP=1 -f tenant_store.sql "$PLATFORM_URL"
--
-- May be run again at any time: it makes what is missing and leaves rows alone. Postgres 13 or later.
-- Columns of your own beside these are left alone, and not read; the tables may be views of yours, which then
-- notify by themselves.
begin;
set local client_min_messages = warning;

create schema if not exists pgweir;

-- Fields of tiers/reference.md in `limits`: {"pool_size": 5, "statement_timeout": "30s"}. What a tier does not say
-- it takes from the configuration's tier of that name, or from the built-in defaults.
create table if not exists pgweir.tiers (
  name   text primary key check (octet_length(name) between 1 and 63),
  limits jsonb not null check (jsonb_typeof(limits) = 'object' and limits <> '{}')
);

-- One row per tenant. A tier that is null is pool.default_tier, which the configuration may have instead of
-- pgweir.tiers; `limits` override the tier's.
create table if not exists pgweir.tenants (
  id         text primary key
             check (octet_length(id) between 1 and 63 and id <> '*' and id not like 'tier:%'),
  tier       text,
  backend    text,
  database   text,
  "user"     text,
  password   text,
  state      text not null default 'active' check (state in ('active', 'suspended')),
  reason     text,
  version    bigint check (version between 0 and 4294967295),
  limits     jsonb not null default '{}' check (jsonb_typeof(limits) = 'object')
);

-- Written by pgweir: totals of one tenant, day (UTC) and run of a pgweir, whose names and units are in
-- pooler/usage.md. Their sum over runs is a day's bill (of peaks the most):
--   select tenant, sum((figures->>'queries')::numeric) from pgweir.usage where day = '2026-01-31' group by 1;
create table if not exists pgweir.usage (
  day     date not null,
  run     text not null,
  tenant  text not null,
  figures jsonb not null,
  primary key (day, tenant, run)
);

-- Every pgweir hears of a change when it is committed. Equal notifications of a transaction are sent once.
create or replace function pgweir.notify_changed() returns trigger
language plpgsql set search_path = pg_catalog as $$
declare
  prefix constant text := case tg_table_name when 'tiers' then 'tier:' else '' end;
  key constant text := case tg_table_name when 'tiers' then 'name' else 'id' end;
begin
  if tg_level = 'STATEMENT' then
    perform pg_notify('pgweir_changed', '*');
    return null;
  end if;
  if tg_op <> 'INSERT' then
    perform pg_notify('pgweir_changed', prefix || (to_jsonb(old)->>key));
  end if;
  if tg_op <> 'DELETE' then
    perform pg_notify('pgweir_changed', prefix || (to_jsonb(new)->>key));
  end if;
  return null;
end
$$;

drop trigger if exists pgweir_changed on pgweir.tenants;
create trigger pgweir_changed after insert or update or delete on pgweir.tenants
  for each row execute function pgweir.notify_changed();
drop trigger if exists pgweir_emptied on pgweir.tenants;
create trigger pgweir_emptied after truncate on pgweir.tenants
  for each statement execute function pgweir.notify_changed();
drop trigger if exists pgweir_changed on pgweir.tiers;
create trigger pgweir_changed after insert or update or delete on pgweir.tiers
  for each row execute function pgweir.notify_changed();
drop trigger if exists pgweir_emptied on pgweir.tiers;
create trigger pgweir_emptied after truncate on pgweir.tiers
  for each statement execute function pgweir.notify_changed();

comment on table pgweir.tenants is 'tenants of pgweir (tenant_store.kind: postgres)';
comment on table pgweir.tiers is 'tiers of pgweir, over those of its configuration';
comment on table pgweir.usage is 'what tenants have used, by day and run of a pgweir';

commit;
