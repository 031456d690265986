"""SET in all its spellings, and texts that read otherwise than they look."""

from .case import HIDDEN_QUOTE, Bound, Raw, query, rows, sync
from .case import bound_messages as messages

_SET = "set spellings"
_LEXER = "lexer tricks"
_LONG = {
    "standard": "a text that is too long to be parsed is set back behind its transaction",
}

CASES = [
    *rows(
        _SET,
        {
            "plain": "set work_mem = '1GB'",
            "TO": "set work_mem to '1GB'",
            "session": "set session work_mem = '1GB'",
            "capitals": "SET WORK_MEM = '1GB'",
            "a quoted name": "set \"work_mem\" = '1GB'",
            "a quoted name in capitals": "set \"WORK_MEM\" = '1GB'",
            "a name with escapes": "set U&\"work\\005Fmem\" = '1GB'",
            "a name with escapes of its own": "set U&\"work!005Fmem\" uescape '!' = '1GB'",
            "a long escape": "set U&\"work\\+00005Fmem\" = '1GB'",
            "an old name": "set sort_mem = '1GB'",
            "an old name, quoted": "set \"SORT_mem\" = 1048576",
            "another old name": ("set vacuum_mem = '1GB'", {"judge": "maintenance"}),
            "a number": "set work_mem = 1048576",
            "a fraction": "set work_mem = 1048576.4",
            "an exponent": "set work_mem = 1e6",
            "a positive number": "set work_mem = +1048576",
            "hexadecimal": "set work_mem = '0x100000'",
            "octal": "set work_mem = '04000000'",
            "a string with escapes": "set work_mem = E'1\\x47B'",
            "a string with Unicode escapes": "set work_mem = U&'1\\0047B'",
            "a string in dollars": "set work_mem = $$1GB$$",
            "a string in dollars with a tag": "set work_mem = $x$1GB$x$",
            "a string over two lines": "set work_mem = '1'\n'GB'",
            "spaces in the value": "set work_mem = ' 1048576 kB '",
            "a word": "set work_mem = \"1GB\"",
            "local": "set local work_mem = '1GB'",
            "another unit": "set work_mem = '0.001TB'",
            "bytes": "set work_mem = '1073741824B'",
            "maintenance": ("set maintenance_work_mem = '1GB'", {"judge": "maintenance"}),
            "temporary buffers": ("set temp_buffers = '1GB'", {"judge": "temp_buffers"}),
            "hashes": ("set hash_mem_multiplier = 1000", {"judge": "hash"}),
            "hashes by a word": ("set hash_mem_multiplier = '1e3'", {"judge": "hash"}),
            "workers": ("set max_parallel_workers_per_gather = 8", {"judge": "workers"}),
            "workers for the transaction": ("set local max_parallel_workers_per_gather = 8", {"judge": "workers"}),
            "no time limit": ("set statement_timeout = 0", {"judge": "sleep"}),
            "no time limit, by a string": ("set statement_timeout = '0'", {"judge": "sleep"}),
            "less than a millisecond": ("set statement_timeout = '499us'", {"judge": "sleep"}),
            "half a millisecond": ("set statement_timeout = 0.5", {"judge": "sleep"}),
            "a long time limit": ("set statement_timeout = '1d'", {"judge": "sleep"}),
            "a time limit for the transaction": ("set local statement_timeout = 0", {"judge": "sleep"}),
            "a time limit by DEFAULT of nothing": (
                ("alter role current_user set statement_timeout = 0", "set statement_timeout to default"),
                # What a role has is not looked at before the next login.
                {"judge": "sleep", "bites": False},
            ),
            "extended": Bound("set work_mem = '1GB'"),
            "extended, local": Bound("set local work_mem = '1GB'"),
            "extended, no time limit": (Bound("set statement_timeout = 0"), {"judge": "sleep"}),
            "extended, a named statement twice": Raw(
                messages("set work_mem = '1GB'", name="s1") + sync() + query("select 1")
            ),
        },
    ),
    *rows(
        _LEXER,
        {
            "behind a comment": "/* a */ set work_mem = '1GB'",
            "behind nested comments": "/* /* set */ ' */ set/**/work_mem/**/=/**/'1GB'",
            "behind a line comment": "-- it's\nset work_mem = '1GB'",
            "a carriage return ends the line": "select 1; -- x\rset work_mem = '1GB'",
            "form feeds": "set\fwork_mem\f=\f'1GB'",
            "carriage returns": "set\rwork_mem\r=\r'1GB'",
            "behind empty statements": ";;; ; set work_mem = '1GB'",
            "behind 3000 empty statements": ";" * 3000 + "set work_mem = '1GB'",
            "behind a long comment": "/*" + "x" * 60_000 + "*/ set work_mem = '1GB'",
            "behind a very long comment": ("/*" + "x" * 300_000 + "*/ set work_mem = '1GB'", {"known": _LONG}),
            "behind many tokens": (
                "select 1 in (" + "1," * 9000 + "1); set work_mem = '1GB'",
                {"known": _LONG},
            ),
            "behind many statements": ("select 1;" * 9000 + "set work_mem = '1GB'", {"known": _LONG}),
            "behind deep parentheses": (
                "select " + "(" * 1200 + "1" + ")" * 1200 + "; set work_mem = '1GB'",
                {"known": _LONG},
            ),
            "behind a long string": ("select '" + "x" * 70_000 + "'; set work_mem = '1GB'", {"known": _LONG}),
            "behind a very long comment, extended": (
                Bound("/*" + "x" * 300_000 + "*/ set work_mem = '1GB'"),
                {"known": _LONG},
            ),
            "in the middle": "select 1; set work_mem = '1GB'; select 2",
            "behind a string that looks open": "select 'it''s \\'; set work_mem = '1GB'; --'",
            "behind a name that looks open": "select 1 as \"a\"\"'\"; set work_mem = '1GB'; --'",
            "behind dollars in a name": "select 1 as a$b$; set work_mem = '1GB'; --$b$",
            "behind dollars that do not close": "select $a$ $b$ $a$; set work_mem = '1GB'; --$b$",
            "behind an operator": "select 1 <-- x\n 2; set work_mem = '1GB'",
            "behind a minus of two": "select 1 --'\n; set work_mem = '1GB' --'",
            "behind a string with escapes": "select E'\\\\'; set work_mem = '1GB'; --'",
            "behind a string over lines with escapes": "select E'a'\n'\\''; set work_mem = '1GB'; --'",
            "behind a bit string": "select b'1', x'1f'; set work_mem = '1GB'",
            "behind a national string": "select n'\\'; set work_mem = '1GB'; --'",
            "behind letters beyond ASCII": "select 'é中😀' as \"é中😀\"; set work_mem = '1GB'",
            "words stuck together": "select 1;set\"work_mem\"='1GB'",
            "numbers stuck to words": "select 1.;set work_mem='1GB'",
            "standard strings off before": (
                "set standard_conforming_strings = off",
                "select '\\'', set_config($$work_mem$$, $$1GB$$, false) --'",
            ),
            "standard strings off by set_config": (
                "select set_config('standard_conforming_strings', 'off', false)",
                "select '\\'', set_config($$work_mem$$, $$1GB$$, false) --'",
            ),
            "another encoding": ("set client_encoding = 'SJIS'", HIDDEN_QUOTE),
            "another encoding by NAMES": ("set names 'GBK'", HIDDEN_QUOTE),
            "another encoding by set_config": ("select set_config('client_encoding', 'sjis', false)", HIDDEN_QUOTE),
            "another encoding for the transaction": ("begin; set local client_encoding = 'sjis'", HIDDEN_QUOTE),
            "another encoding by DO": ("do $$ begin set client_encoding = 'SJIS'; end $$", HIDDEN_QUOTE),
            "another encoding in one write": Raw(query("set client_encoding = 'SJIS'") + HIDDEN_QUOTE.messages),
            "two queries in one write": Raw(query("select 1") + query("set work_mem = '1GB'")),
            "encoding and text in one write": Raw(
                query("set standard_conforming_strings = off")
                + query("select '\\'', set_config($$work_mem$$, $$1GB$$, false) --'")
            ),
        },
    ),
]
