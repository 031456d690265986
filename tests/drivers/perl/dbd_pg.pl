# DBD::Pg: server-side prepare, pg_server_prepare off, copy, savepoints; the contract is in ../README.md.
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:async);
use FindBin;
use Time::HiRes qw(sleep time);
binmode STDOUT, ":utf8";
$| = 1;

my $me = $ENV{CLIENT};
my $token = "c$me";
my $dsn = "dbi:Pg:dbname=$ENV{PGDATABASE};host=$ENV{PGHOST};port=$ENV{PGPORT}";

sub connection { DBI->connect($dsn . ($_[1] // ""), $ENV{PGUSER}, $ENV{PGPASSWORD}, {RaiseError => 1, PrintError => 0, PrintWarn => 0, AutoCommit => 1, pg_enable_utf8 => 1, %{$_[0] // {}}}) }
sub equal { my ($got, $wanted) = @_; die "$got, not $wanted\n" unless $got eq $wanted }

sub fails {
  my ($state, $dbh, $work) = @_;
  return equal($dbh->state, $state) unless eval { $work->(); 1 };
  die "no $state\n";
}

sub say_result {
  my ($name, $work) = @_;
  if (eval { $work->(); 1 }) { print "ok $name\n" }
  else { (my $reason = $@) =~ s/\s+/ /g; print "FAIL $name $reason\n" }
}

sub play {
  my %connections;
  my $number = 0;
  for my $step (@_) {
    $number++;
    my ($other, $verb, $rest) = $step =~ /^(other )?(\S+) (.*)$/;
    my $dbh = $connections{$other // ""} //= connection();
    my ($value, $sql) = split / :: /, $rest, 2;
    eval {
      if ($verb eq "do") { $dbh->do($rest) }
      elsif ($verb eq "fails") { fails($value, $dbh, sub { $dbh->do($sql) }) }
      else { for (1 .. ($verb eq "same" ? 5 : 1)) { my ($found) = $dbh->selectrow_array($sql); equal($found // "no row", $value) } }
      1;
    } or die "step $number ($step): $@";
  }
  $_->disconnect for values %connections;
}

connection()->disconnect;
print "version $DBD::Pg::VERSION\nready\n";
scalar <STDIN>;

my (@names, %steps);
open my $file, "<:utf8", "$FindBin::Bin/../session.txt" or die;
while (<$file>) {
  chomp;
  next if /^(#|$)/;
  s/\{c\}/$me/g;
  s/\{t\}/$token/g;
  s/\{d\}/$ENV{PGDATABASE}/g;
  if (/^scenario (.*)/) { push @names, $1 } else { push @{$steps{$names[-1]}}, $_ }
}
for my $name (@names) { say_result($name, sub { play(@{$steps{$name}}) }) }

for my $server (0, 1) {
  say_result("parameters_$server", sub {
    my $dbh = connection({pg_server_prepare => $server});
    for my $n (1 .. 30) {
      my @row = $dbh->selectrow_array("select ?::text, ?::int, ?::text[]", undef, $token, $n, [$token, "x"]);
      equal("@row[0, 1] @{$row[2]}", "$token $n $token x");
    }
    $dbh->disconnect;
  });
  say_result("prepared_statement_$server", sub {
    my $dbh = connection({pg_server_prepare => $server});
    my $sth = $dbh->prepare("select ?::int + 1, '$token'");
    for my $n (1 .. 50) { $sth->execute($n); my @row = $sth->fetchrow_array; equal("@row", $n + 1 . " $token"); $sth->finish }
    undef $sth;
    $dbh->disconnect;
  });
}
say_result("many_statements", sub {
  my $dbh = connection({pg_switch_prepared => 1});
  my @all = map { $dbh->prepare("select ?::text, $_") } 1 .. 220;
  for my $turn (1, 2) { for my $n (1 .. 220) { $all[$n - 1]->execute($token); equal(join(" ", $all[$n - 1]->fetchrow_array), "$token $n") } }
  undef @all;
  $dbh->disconnect;
});
say_result("statements_that_end", sub {
  my $dbh = connection({pg_switch_prepared => 1});
  for my $n (1 .. 40) {
    my $sth = $dbh->prepare("select ?::text, $n");
    $sth->execute($token);
    equal(join(" ", $sth->fetchrow_array), "$token $n");
  }
  equal(($dbh->selectrow_array("select ?::text", undef, $token))[0], $token);
  $dbh->disconnect;
});
say_result("transactions", sub {
  my $dbh = connection({AutoCommit => 0});
  $dbh->do("create table t_$token (n int primary key, who text)");
  $dbh->commit;
  for my $n (0 .. 19) {
    $dbh->do("insert into t_$token values (?, ?)", undef, $n, $token);
    $dbh->pg_savepoint("here");
    fails("23505", $dbh, sub { $dbh->do("insert into t_$token values (?, 'again')", undef, $n) });
    $dbh->pg_rollback_to("here");
    $n % 3 ? $dbh->commit : $dbh->rollback;
  }
  equal(($dbh->selectrow_array("select count(*) from t_$token where who = ?", undef, $token))[0], 13);
  $dbh->rollback;
  $dbh->disconnect;
});
say_result("copy", sub {
  my $dbh = connection();
  $dbh->do("create table copy_$token (n int, who text)");
  $dbh->do("copy copy_$token from stdin");
  $dbh->pg_putcopydata("$_\t$token\n") for 1 .. 2000;
  $dbh->pg_putcopyend;
  $dbh->do("copy (select who from copy_$token) to stdout");
  my ($row, $rows) = ("", 0);
  while ($dbh->pg_getcopydata($row) >= 0) { equal($row, "$token\n"); $rows++ }
  equal($rows, 2000);
  $dbh->disconnect;
});
say_result("large_objects", sub {
  my $dbh = connection({AutoCommit => 0});
  my $id = $dbh->pg_lo_creat($dbh->{pg_INV_WRITE});
  my $fd = $dbh->pg_lo_open($id, $dbh->{pg_INV_WRITE} | $dbh->{pg_INV_READ});
  $dbh->pg_lo_write($fd, $token, length $token);
  $dbh->pg_lo_lseek($fd, 0, 0);
  my $buffer = "";
  $dbh->pg_lo_read($fd, $buffer, 100);
  equal($buffer, $token);
  $dbh->pg_lo_close($fd);
  $dbh->pg_lo_unlink($id);
  $dbh->commit;
  $dbh->disconnect;
});
say_result("asynchronous_and_cancel", sub {
  my $dbh = connection();
  $dbh->do("select pg_sleep(20)", {pg_async => PG_ASYNC});
  sleep 0.3;
  my $started = time;
  $dbh->pg_cancel;
  die "late\n" if time - $started > 10;
  equal(($dbh->selectrow_array("select ?::text", undef, $token))[0], $token);
  $dbh->disconnect;
});
say_result("listen_notify", sub {
  my $dbh = connection();
  $dbh->do("listen channel_$token");
  my $other = connection();
  $other->do("notify channel_$token, '$token'");
  $other->disconnect;
  my $note;
  for (1 .. 40) { last if $note = $dbh->pg_notifies; sleep 0.05 }
  equal($note ? $note->[2] : "nothing", $token);
  $dbh->disconnect;
});
say_result("ping_and_reconnect", sub {
  for my $n (1 .. 8) {
    my $dbh = connection();
    equal($dbh->ping > 0 ? "yes" : "no", "yes");
    equal(($dbh->selectrow_array("select ?::text", undef, "$token/$n"))[0], "$token/$n");
    $dbh->disconnect;
  }
});
say_result("last_insert_id", sub {
  my $dbh = connection();
  $dbh->do("create table last_$token (id serial primary key, who text)");
  for my $n (1 .. 4) {
    $dbh->do("insert into last_$token (who) values (?)", undef, $token);
    equal($dbh->last_insert_id(undef, "public", "last_$token", undef), $n);
  }
  $dbh->disconnect;
});
print "done\n";
