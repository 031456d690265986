/*
 * pgweir_guard - the ceilings of a role, held inside of Postgres.
 *
 * For session_preload_libraries. A superuser says what a role may have:
 *
 *     ALTER ROLE acme SET pgweir_guard.ceilings = 'work_mem=64MB, statement_timeout=60s';
 *
 * Every value passes the check hook of its parameter, whichever way it comes: SET, set_config, a function's SET
 * clause, ALTER ROLE and ALTER DATABASE, startup options. So the hooks of the named parameters are ours, with
 * Postgres's own called behind them. A value above the ceiling is refused (22023). What is restored without a
 * check (RESET, rollback, parallel workers taking over the state of their leader) has been checked before.
 *
 * Superusers are free of all this, as are functions that run with a superuser's rights.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"

#if PG_VERSION_NUM < 150000 || PG_VERSION_NUM >= 190000
#error "pgweir_guard is written for Postgres 15 to 18"
#endif

PG_MODULE_MAGIC;

void		_PG_init(void);

#define SETTING "pgweir_guard.ceilings"
#define CEILINGS_MAX 32
#define SPELLED_MAX 32

/* What a value of SETTING says; the "extra" of the parameter, so it is one piece of memory. */
typedef struct Ceiling
{
	struct config_generic *record;
	double		most;
	char		spelled[SPELLED_MAX];	/* as it was written, for errors */
} Ceiling;

typedef struct Ceilings
{
	int			count;
	Ceiling		rows[CEILINGS_MAX];
} Ceilings;

/* A parameter whose hook is ours. It stays so, with or without a ceiling. */
typedef struct Slot
{
	Ceiling		ceiling;
	bool		enforced;
	GucIntCheckHook next_int;
	GucRealCheckHook next_real;
} Slot;

static Slot slots[CEILINGS_MAX];
static int	slots_used = 0;
static char *ceilings_text = NULL;

/* ---- parameters ---- */

static struct config_generic *
find_parameter(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, true, 0);
#else
	struct config_generic **all = get_guc_variables();
	int			count = GetNumConfigOptions();

	for (int i = 0; i < count; i++)
		if (pg_strcasecmp(all[i]->name, name) == 0)
			return all[i];
	return NULL;
#endif
}

/* Where 0 means no limit. */
static bool
zero_is_unlimited(const struct config_generic *record)
{
	static const char *const others[] = {"vacuum_buffer_usage_limit", "gin_fuzzy_search_limit"};
	const char *timeout = "_timeout";
	size_t		length = strlen(record->name);

	if (length > strlen(timeout) && strcmp(record->name + length - strlen(timeout), timeout) == 0)
		return true;
	for (int i = 0; i < (int) lengthof(others); i++)
		if (strcmp(record->name, others[i]) == 0)
			return true;
	return false;
}

/* A number below 0 means no limit, or a default that lies elsewhere, wherever Postgres takes one. */
static bool
is_above(const Ceiling *ceiling, double value)
{
	return !(value <= ceiling->most) || value < 0 || (value == 0 && zero_is_unlimited(ceiling->record));
}

/* ---- the text of SETTING ---- */

static char *
skip_spaces(char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

static void
cut_spaces(char *word)
{
	char	   *end = word + strlen(word);

	while (end > word && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
}

/* One "name=value" of the text; false with GUC_check_errmsg. */
static bool
parse_ceiling(char *item, Ceiling *out)
{
	char	   *value = strchr(item, '=');
	const char *hint = NULL;
	bool		good;

	if (value == NULL)
	{
		GUC_check_errmsg("\"%s\" must read name=value in %s", item, SETTING);
		return false;
	}
	*value++ = '\0';
	value = skip_spaces(value);
	cut_spaces(item);
	out->record = find_parameter(item);
	if (out->record == NULL || (out->record->flags & GUC_CUSTOM_PLACEHOLDER) != 0)
	{
		GUC_check_errmsg("%s names \"%s\", which this server does not know", SETTING, item);
		return false;
	}
	if (out->record->vartype == PGC_INT)
	{
		int			number = 0;

		good = parse_int(value, &number, out->record->flags, &hint);
		out->most = number;
	}
	else if (out->record->vartype == PGC_REAL)
		good = parse_real(value, &out->most, out->record->flags, &hint);
	else
	{
		GUC_check_errmsg("%s names \"%s\", which is no number", SETTING, item);
		return false;
	}
	if (!good || out->most < 0 || strlen(value) >= SPELLED_MAX ||
		(out->most == 0 && zero_is_unlimited(out->record)))
	{
		GUC_check_errmsg("\"%s\" is no ceiling for \"%s\" in %s", value, item, SETTING);
		if (hint)
			GUC_check_errhint("%s", hint);
		return false;
	}
	strcpy(out->spelled, value);
	return true;
}

static bool
parse_ceilings(char *items, Ceilings *out)
{
	char	   *item = items;

	out->count = 0;
	while (item != NULL)
	{
		char	   *comma = strchr(item, ',');

		if (comma != NULL)
			*comma++ = '\0';
		item = skip_spaces(item);
		cut_spaces(item);
		if (*item != '\0')
		{
			if (out->count == CEILINGS_MAX)
			{
				GUC_check_errmsg("%s names more than %d parameters", SETTING, CEILINGS_MAX);
				return false;
			}
			if (!parse_ceiling(item, &out->rows[out->count]))
				return false;
			out->count++;
		}
		item = comma;
	}
	return true;
}

static Slot *
slot_of(const struct config_generic *record)
{
	for (int i = 0; i < slots_used; i++)
		if (slots[i].ceiling.record == record)
			return &slots[i];
	return NULL;
}

static bool
check_ceilings(char **newval, void **extra, GucSource source)
{
	char	   *items = pstrdup(*newval);
	Ceilings   *parsed;
	int			fresh = 0;
	bool		good;

#if PG_VERSION_NUM >= 160000
	parsed = guc_malloc(LOG, sizeof(Ceilings));
#else
	parsed = malloc(sizeof(Ceilings));
#endif
	if (parsed == NULL)
		return false;
	good = parse_ceilings(items, parsed);
	pfree(items);
	for (int i = 0; good && i < parsed->count; i++)
		if (slot_of(parsed->rows[i].record) == NULL)
			fresh++;
	if (good && slots_used + fresh > CEILINGS_MAX)
	{
		GUC_check_errmsg("this session has seen %s name more than %d parameters", SETTING, CEILINGS_MAX);
		good = false;
	}
	if (!good)
	{
#if PG_VERSION_NUM >= 160000
		guc_free(parsed);
#else
		free(parsed);
#endif
		return false;
	}
	*extra = parsed;
	return true;
}

/* ---- values of parameters ---- */

/* Whether a new value is judged at all. */
static bool
is_exempt(void)
{
	/* The leader's values have passed in the leader. */
	if (InitializingParallelWorker)
		return true;
	/* Outside of a transaction nobody's rights can be looked up; what comes then is no superuser's. */
	return IsTransactionState() && superuser();
}

/* False with GUC_check_errmsg, or the value lowered where nobody asked for it who could be told. */
static bool
within_ceiling(Slot *slot, double value, GucSource source, bool *lowered)
{
	if (!slot->enforced || !is_above(&slot->ceiling, value) || is_exempt())
		return true;
	if (source < PGC_S_CLIENT)
	{
		*lowered = true;
		return true;
	}
	GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
	GUC_check_errmsg("parameter \"%s\" must not exceed %s in this session", slot->ceiling.record->name,
					 slot->ceiling.spelled);
	GUC_check_errhint("The ceiling is the database operator's, in %s.", SETTING);
	return false;
}

static bool
check_int(Slot *slot, int *newval, void **extra, GucSource source)
{
	bool		lowered = false;

	if (!within_ceiling(slot, *newval, source, &lowered))
		return false;
	if (lowered)
		*newval = (int) slot->ceiling.most;
	return slot->next_int == NULL || slot->next_int(newval, extra, source);
}

static bool
check_real(Slot *slot, double *newval, void **extra, GucSource source)
{
	bool		lowered = false;

	if (!within_ceiling(slot, *newval, source, &lowered))
		return false;
	if (lowered)
		*newval = slot->ceiling.most;
	return slot->next_real == NULL || slot->next_real(newval, extra, source);
}

/* A check hook is not told whose value it checks, so every slot has functions of its own. */
#define HOOKS(n) \
	static bool check_int_##n(int *v, void **e, GucSource s) { return check_int(&slots[n], v, e, s); } \
	static bool check_real_##n(double *v, void **e, GucSource s) { return check_real(&slots[n], v, e, s); }
#define INT_HOOK(n) check_int_##n,
#define REAL_HOOK(n) check_real_##n,
#define EACH_SLOT(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) \
	X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)

EACH_SLOT(HOOKS)
static const GucIntCheckHook int_hooks[] = {EACH_SLOT(INT_HOOK)};
static const GucRealCheckHook real_hooks[] = {EACH_SLOT(REAL_HOOK)};

StaticAssertDecl(lengthof(int_hooks) == CEILINGS_MAX && lengthof(real_hooks) == CEILINGS_MAX,
				 "every slot needs hooks");

static Slot *
take_slot(struct config_generic *record)
{
	int			at = slots_used++;
	Slot	   *slot = &slots[at];

	Assert(at < CEILINGS_MAX);
	slot->ceiling.record = record;
	if (record->vartype == PGC_INT)
	{
		struct config_int *parameter = (struct config_int *) record;

		slot->next_int = parameter->check_hook;
		parameter->check_hook = int_hooks[at];
	}
	else
	{
		struct config_real *parameter = (struct config_real *) record;

		slot->next_real = parameter->check_hook;
		parameter->check_hook = real_hooks[at];
	}
	return slot;
}

static void
assign_ceilings(const char *newval, void *extra)
{
	const Ceilings *parsed = extra;

	for (int i = 0; i < slots_used; i++)
		slots[i].enforced = false;
	for (int i = 0; parsed != NULL && i < parsed->count; i++)
	{
		Slot	   *slot = slot_of(parsed->rows[i].record);

		if (slot == NULL)
			slot = take_slot(parsed->rows[i].record);
		/* Of two rows for one parameter the stricter one holds, wherever they stand. */
		if (!slot->enforced || parsed->rows[i].most < slot->ceiling.most)
			slot->ceiling = parsed->rows[i];
		slot->enforced = true;
	}
}

/* ---- the start of a session ---- */

static bool
session_is_superusers(void)
{
	bool		ours = !IsTransactionState();
	bool		answer;

	if (ours)
		StartTransactionCommand();
	answer = superuser_arg(GetSessionUserId());
	if (ours)
		CommitTransactionCommand();
	return answer;
}

/*
 * Before this module was there, a client could give the setting any value by its startup packet, and that would
 * go before the role's own. Such a session is not begun.
 */
static void
refuse_shadow(void)
{
	const struct config_generic *shadow = find_parameter(SETTING);

	if (shadow != NULL && shadow->source >= PGC_S_CLIENT)
		ereport(FATAL,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set parameter \"%s\"", SETTING)));
}

/* What the role has been given, or NULL. */
static char *
given_ceilings(void)
{
	const struct config_generic *given = find_parameter(SETTING);

	if (given == NULL || given->vartype != PGC_STRING || *((const struct config_string *) given)->variable == NULL)
		return NULL;
	return pstrdup(*((const struct config_string *) given)->variable);
}

/* Values that came before the ceilings: a client's own are refused, all others lowered, for RESET too. */
static void
apply_to_present(const Slot *slot)
{
	const struct config_generic *record = slot->ceiling.record;
	double		now,
				reset;
	char		most[SPELLED_MAX];

	if (record->vartype == PGC_INT)
	{
		now = *((const struct config_int *) record)->variable;
		reset = ((const struct config_int *) record)->reset_val;
		snprintf(most, sizeof(most), "%.0f", slot->ceiling.most);
	}
	else
	{
		now = *((const struct config_real *) record)->variable;
		reset = ((const struct config_real *) record)->reset_val;
		snprintf(most, sizeof(most), "%.17g", slot->ceiling.most);
	}
	if (!is_above(&slot->ceiling, now) && !is_above(&slot->ceiling, reset))
		return;
	if (record->source == PGC_S_CLIENT || record->reset_source == PGC_S_CLIENT)
		ereport(FATAL,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" must not exceed %s in this session", record->name,
						slot->ceiling.spelled),
				 errhint("The ceiling is the database operator's, in %s.", SETTING)));
	SetConfigOption(record->name, most, PGC_SUSET, PGC_S_OVERRIDE);
}

void
_PG_init(void)
{
	bool		free_of_all;
	char	   *given;

	if (process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pgweir_guard must be loaded by session_preload_libraries"),
				 errdetail("Only there it sees what a session begins with.")));
	/* A worker gets its leader's ceilings with the rest of its settings. */
	free_of_all = IsParallelWorker() || session_is_superusers();
	if (!free_of_all)
		refuse_shadow();
	given = given_ceilings();

	DefineCustomStringVariable(SETTING,
							   "Largest values that parameters may have in a session of this role.",
							   "Such as: work_mem=64MB, statement_timeout=60s. For timeouts 0 lies above.",
							   &ceilings_text, "", PGC_SUSET, 0, check_ceilings, assign_ceilings, NULL);
	MarkGUCPrefixReserved("pgweir_guard");
	if (free_of_all)
		return;

	/* What the role has been given was not taken: better no session than one without ceilings. */
	if (given != NULL && strcmp(given, ceilings_text) != 0)
		ereport(FATAL,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" of this role cannot be read", SETTING),
				 errhint("A superuser must correct it by ALTER ROLE ... SET; LOAD 'pgweir_guard' first, and what "
						 "is wrong is told.")));
	for (int i = 0; i < slots_used; i++)
		apply_to_present(&slots[i]);
}
