#include "protocol/script_state.h"

#include <catch2/catch.hpp>
#include <string>

namespace pgweir::protocol {
namespace {

constexpr auto Perl = BodyLanguage::Perl, Python = BodyLanguage::Python, Tcl = BodyLanguage::Tcl,
               JavaScript = BodyLanguage::JavaScript, Other = BodyLanguage::Other;

struct Row {
  BodyLanguage language;
  const char* code;
};

TEST_CASE("code that keeps something for the next call") {
  const Row rows[] = {
      {Perl, "$_SHARED{who} = shift; return 1;"},
      {Perl, "my $all = \\%_SHARED;"},
      {Perl, "our $seen; $seen++"},
      {Perl, "our ($a, %b);"},
      {Perl, "use feature 'state'; state $n = 0;"},
      {Perl, "$main::seen = 1"},
      {Perl, "$My::who = 1"},
      {Perl, "$My::Own'deep::who = 1"},
      {Perl, "$::x = 1"},
      {Perl, "push @::x, 1"},
      {Perl, "%::h = ()"},
      {Perl, "$#My::list"},
      {Perl, "${ My::who } = 1; @{My::list}"},
      {Perl, "elog(NOTICE, \"$My::who\")"},
      {Perl, "my $x = '#'; $_SHARED{x} = 1"},
      {Perl, "my $x = 1; # note\n  $_SHARED{x} = 1"},
      // A string that goes over lines, the last of which looks like a comment.
      {Perl, "my $x = \"a\n# b\"; $_SHARED{x} = 1;"},
      {Perl, "my $x = q{a\n# b}; $_SHARED{x} = 1;"},
      {Perl, "my $x = q(a\n# b); $_SHARED{x} = 1;"},
      {Perl, "# one\r$_SHARED{x} = 1"},
      {Python, "GD['who'] = who"},
      {Python, "return SD.get('n')"},
      {Python, "global n\nn = 1"},
      {Python, "  global n, m"},
      {Python, "if x: global n"},
      {Python, "x = 1; global n"},
      {Python, "globals()['n'] = 1"},
      {Python, "x = '#'; GD['a'] = x"},
      {Python, "x = '''a\n# b'''; GD['a'] = x"},
      {Python, "x = 'a\\\n# b'; GD['a'] = x"},
      {Python, "# one\rGD['a'] = 1"},
      {Tcl, "set GD(who) $1"},
      {Tcl, "global who"},
      {Tcl, "upvar #0 who w"},
      {Tcl, "set ::who 1"},
      {Tcl, "set mine::who 1"},
      {Tcl, "incr  mine::n"},
      {Tcl, "return $mine::who"},
      {Tcl, "return ${mine::who}"},
      {Tcl, "namespace eval mine {variable n 0}"},
      {Tcl, "set x {a\n# b}; global who"},
      {JavaScript, "this.who = 1"},
      {JavaScript, "globalThis.who = 1"},
      {JavaScript, "new Function('return this')()"},
      {JavaScript, "var x = '//'; this.who = x"},
      {JavaScript, "var x = `\n// ${this.who = 1}`"},
      {JavaScript, "var x = `\n/* ${this.who = 1} */`"},
      {JavaScript, "var x = 1; /* a\n// b */ this.who = x"},
      {JavaScript, "var x = 1; /* a\n/* b */ this.who = x /* c */"},
      {JavaScript, "/* a */ this.who = 1"},
      {JavaScript, "/* a\n\n*/\n\nthis.who = 1"},
      {JavaScript, "var x = 'a\\\n// b'; this.who = x"},
      {JavaScript, "// a\rthis.who = 1"},
      {JavaScript, "// a\xe2\x80\xa8this.who = 1"},
      {Other, "this.who = 1"},
      {Other, "-- this is nothing, but who knows"},
      {Other, "# our total"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.code);
    CHECK(may_keep_something(row.code, row.language));
  }
}

TEST_CASE("code that keeps nothing, whatever its comments and names are like") {
  const Row rows[] = {
      {Perl, "my $x = $_[0] * 2; return $x;"},
      {Perl, "# this returns the total of our tenants\nreturn 1;"},
      {Perl, "  # our $seen; this was once global\n\treturn 1;\r\n  # $_SHARED\r\n"},
      {Perl, "# the last line is our $n"},
      {Perl, "return \"this is our GD, global\";"},
      {Perl, "my $x = List::Util::sum(@_); return POSIX::floor($x);"},
      {Perl, "my $o = My::Class->new; $o->{state} % 2; return $h{My::ID}"},
      {Perl, "return $row->{state}; my $hour = 1; $four = $x"},
      {Perl, "return \"id::int\""},
      {Python, "return a + b"},
      {Python, "# this returns the total, see GD and our global\nreturn 1"},
      {Python, "# tenant's GD\nreturn 1"},
      {Python, "\"\"\"This is our total.\n# not in GD\nIt is global.\n\"\"\"\nreturn 1"},
      {Python, "return is_gd(x) + sdate"},
      {Python, "import json\nreturn json.loads(this.our)"},
      {Python, "x = plpy.quote_literal('select 1::int'); y = {'global': 1}"},
      {Tcl, "return [expr $1 + $2]"},
      {Tcl, "# this is our global total\nreturn 1"},
      {Tcl, "spi_exec \"select x::int, 'y'::text, \\$1::int from t\""},
      {Tcl, "set x [lindex $y 0]; set this our"},
      {JavaScript, "var x = y; return x"},
      {JavaScript, "// this returns the tenant's total\nreturn 1"},
      {JavaScript, "// this * that\nreturn 1"},
      {JavaScript, "/* this returns\n * this total\n */\nreturn 1 // one"},
      {JavaScript, "  /* this */ /* this, too */ // and this\n return thistle + global + our"},
      {Other, "return a + b"},
      {BodyLanguage::Sql, "select this.our from global this"},
      {BodyLanguage::PlPgsql, "begin this := our; end"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.code);
    CHECK_FALSE(may_keep_something(row.code, row.language));
  }
}

TEST_CASE("code that is cut off anywhere is looked through to its end") {
  for (const BodyLanguage language : {Perl, Python, Tcl, JavaScript, Other})
    for (const std::string code : {"$#{ \n", "@", "our (", "global", "set  ", "$", "${", "/* this", "//",
                                   "#\r", "\n\n", "\\", "state\t"})
      for (std::size_t size = 0; size <= code.size(); ++size)
        may_keep_something(code.substr(0, size), language);
  CHECK(may_keep_something("/* this", JavaScript));  // no comment
}

TEST_CASE("looking through code takes work by its size, not by its size squared") {
  for (const BodyLanguage language : {Perl, Python, Tcl, JavaScript, Other})
    for (const char* unit : {"$", "a::", "$a", "our (", "global ", " ", "/*", "/*\n", "// x\n", "/* x */",
                             "# x\n", "set  ", "{"}) {
      std::string code;
      while (code.size() < 300'000) code += unit;
      may_keep_something(code, language);
    }
}

}  // namespace
}  // namespace pgweir::protocol
