"""What a client may say before it is anybody: the StartupMessage and its options."""

from .case import HIDDEN_QUOTE, Case


def _options(name, options, **more):
    return Case("startup", f"options: {name}", startup={"options": options}, **more)


def _parameter(name, parameters, **more):
    return Case("startup", f"parameter: {name}", startup=parameters, **more)


CASES = [
    _options("-c", "-c work_mem=1GB"),
    _options("-c without a space", "-cwork_mem=1GB"),
    _options("-- with dashes", "--work-mem=1GB"),
    _options("-- with underscores", "--work_mem=1GB"),
    _options("-c with dashes", "-c work-mem=1GB"),
    _options("capitals", "-c WORK_MEM=1GB"),
    _options("the switch -S", "-S 262144"),
    _options("the switch -S without a space", "-S262144"),
    _options("the switch -S behind another", "-e -S 262144"),
    _options("an old name", "-c sort_mem=1GB"),
    _options("another old name", "-c vacuum_mem=1GB", judge="maintenance"),
    _options("the last of two wins", "-c work_mem=64kB -c work_mem=1GB"),
    _options("the last of two names wins", "-c work_mem=64kB -c sort_mem=1GB"),
    _options("tabs and line breaks", "-c\twork_mem=1GB\n"),
    _options("a backslash in the value", "-c work_mem=1\\GB"),
    _options("a backslash in the name", "-c wor\\k_mem=1GB"),
    _options("a hexadecimal number", "-c work_mem=0x100000"),
    _options("a fraction", "-c work_mem=1048576.4"),
    _options("an exponent", "-c work_mem=1e6"),
    _options("another unit", "-c work_mem=1048576kB"),
    _options("spaces around the number", "-c work_mem=\\ 1048576\\ kB"),
    _options("no limit", "-c statement_timeout=0", judge="sleep"),
    _options("less than a millisecond", "-c statement_timeout=0.4ms", judge="sleep"),
    _options("workers", "-c max_parallel_workers_per_gather=8", judge="workers"),
    _options("temporary buffers", "-c temp_buffers=1GB", judge="temp_buffers"),
    _options("hashes", "-c hash_mem_multiplier=1000", judge="hash"),
    _options("maintenance", "--maintenance-work-mem=1GB", judge="maintenance"),
    _options("session mode as well", "-c pgweir.pool_mode=session -c work_mem=1GB"),
    _options("who one is", "-c app.tenant_id=theirs", judge="ledger"),
    _options("who one is, in capitals", "-c APP.Tenant_ID=theirs", judge="ledger"),
    _options("where one looks", "-c search_path=theirs", judge="path"),
    _options("an old role", "-c role=none", judge="role"),
    _parameter("a name", {"work_mem": "1GB"}),
    _parameter("in capitals", {"Work_Mem": "1GB"}),
    _parameter("an old name", {"sort_mem": "1GB"}),
    _parameter("beside options", {"options": "-c work_mem=64kB", "work_mem": "1GB"}),
    _parameter("no limit", {"statement_timeout": "0"}, judge="sleep"),
    _parameter("who one is", {"app.tenant_id": "theirs"}, judge="ledger"),
    # A Postgres of its own takes it before the role.
    _parameter("who logged in", {"session_authorization": "{role}"}, judge="role", bites=False),
    _options("who logged in", "-c session_authorization={role}", judge="role", bites=False),
    _parameter("workers", {"max_parallel_workers_per_gather": "8"}, judge="workers"),
    # Texts then read otherwise than they look.
    Case(
        "startup",
        "options: strings with backslashes",
        "select '\\'' , set_config($$work_mem$$, $$1GB$$, false) --'",
        startup={"options": "-c standard_conforming_strings=off"},
    ),
    Case(
        "startup",
        "parameter: an encoding that hides quotes",
        HIDDEN_QUOTE,
        startup={"client_encoding": "SJIS"},
    ),
]
