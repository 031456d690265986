<?php
// PHP: PDO (real and emulated statements) and the functions of pgsql; the contract is in ../README.md.
$me = getenv("CLIENT");
$token = "c$me";
$dsn = sprintf("pgsql:host=%s;port=%s;dbname=%s", getenv("PGHOST"), getenv("PGPORT"), getenv("PGDATABASE"));

function connection(array $options = []): PDO {
    global $dsn;
    return new PDO($dsn, getenv("PGUSER"), getenv("PGPASSWORD"), $options + [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
}
function equal($got, $wanted): void {
    if ($got != $wanted) throw new Exception(json_encode($got) . ", not " . json_encode($wanted));
}
function fails(string $state, callable $work): void {
    try {
        $work();
    } catch (PDOException $error) {
        if ((string) $error->getCode() !== $state) throw new Exception("{$error->getCode()}, not $state: {$error->getMessage()}");
        return;
    }
    throw new Exception("no $state");
}
function value(PDO $pdo, string $sql, array $parameters = []) {
    $statement = $pdo->prepare($sql);
    $statement->execute($parameters);
    $row = $statement->fetch(PDO::FETCH_NUM);
    return $row ? $row[0] : "no row";
}
function say(string $name, callable $work): void {
    try {
        $work();
        echo "ok $name\n";
    } catch (Throwable $error) {
        echo "FAIL $name " . preg_replace('/\s+/', " ", $error->getMessage()) . "\n";
    }
}
function play(array $steps): void {
    $connections = [];
    foreach ($steps as $number => $step) {
        preg_match('/^(other )?(\S+) (.*)$/', $step, $found);
        [, $other, $verb, $rest] = $found;
        $pdo = $connections[$other] ??= connection();
        [$wanted, $sql] = explode(" :: ", $rest, 2) + [1 => ""];
        try {
            if ($verb === "do") $pdo->exec($rest);
            elseif ($verb === "fails") fails($wanted, fn() => $pdo->exec($sql));
            else for ($n = 0; $n < ($verb === "same" ? 5 : 1); $n++) equal((string) value($pdo, $sql), $wanted);
        } catch (Throwable $error) {
            throw new Exception("step " . ($number + 1) . " ($step): " . $error->getMessage());
        }
    }
}

connection();
echo "version PHP " . PHP_VERSION . "\nready\n";
fgets(STDIN);
$scenarios = [];
foreach (file(__DIR__ . "/../session.txt", FILE_IGNORE_NEW_LINES) as $line) {
    $line = strtr($line, ["{c}" => $me, "{t}" => $token, "{d}" => getenv("PGDATABASE")]);
    if ($line === "" || $line[0] === "#") continue;
    if (str_starts_with($line, "scenario ")) $name = substr($line, 9);
    else $scenarios[$name][] = $line;
}
foreach ($scenarios as $name => $steps) say($name, fn() => play($steps));

foreach (["real" => [], "emulated" => [PDO::ATTR_EMULATE_PREPARES => true], "unprepared" => [PDO::PGSQL_ATTR_DISABLE_PREPARES => true]] as $kind => $options) {
    say("parameters_$kind", function () use ($token, $options) {
        $pdo = connection($options);
        $statement = $pdo->prepare("select :who::text as who, :n::int as n");
        for ($n = 0; $n < 40; $n++) {
            $statement->execute(["who" => $token, "n" => $n]);
            equal($statement->fetchAll(PDO::FETCH_ASSOC), [["who" => $token, "n" => $n]]);
        }
    });
    say("new_statement_each_time_$kind", function () use ($token, $options) {
        $pdo = connection($options);
        for ($n = 0; $n < 60; $n++) equal(value($pdo, "select ?::text || '/$n'", [$token]), "$token/$n");
    });
}
say("many_statements", function () use ($token) {
    $pdo = connection();
    for ($n = 0; $n < 220; $n++) $all[] = $pdo->prepare("select ?::text || '/$n'");
    foreach ([1, 2] as $turn) foreach ($all as $n => $statement) {
        $statement->execute([$token]);
        equal($statement->fetchColumn(), "$token/$n");
    }
});
say("transactions", function () use ($token) {
    $pdo = connection();
    $pdo->exec("create table t_$token (n int primary key, who text)");
    for ($n = 0; $n < 20; $n++) {
        $pdo->beginTransaction();
        $pdo->prepare("insert into t_$token values (?, ?)")->execute([$n, $token]);
        equal($pdo->inTransaction(), true);
        if ($n % 3 == 0) {
            fails("23505", fn() => $pdo->exec("insert into t_$token values ($n, 'again')"));
            $pdo->rollBack();
        } else {
            $pdo->commit();
        }
    }
    equal(value($pdo, "select count(*) from t_$token where who = ?", [$token]), 13);
});
say("last_insert_id", function () use ($token) {
    $pdo = connection();
    $pdo->exec("create table last_$token (id serial, who text)");
    for ($n = 1; $n < 5; $n++) {
        $pdo->exec("insert into last_$token (who) values ('$token')");
        equal($pdo->lastInsertId(), $n);
    }
});
say("persistent_connections", function () use ($token) {
    for ($n = 0; $n < 10; $n++) equal(value(connection([PDO::ATTR_PERSISTENT => true]), "select ?::text", [$token]), $token);
});
say("scrollable_cursor", function () use ($token) {
    $pdo = connection();
    $pdo->beginTransaction();
    $statement = $pdo->prepare("select '$token/' || n from generate_series(1, 100) n", [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
    $statement->execute();
    equal($statement->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_ABS, 50)[0], "$token/50");
    equal($statement->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_PRIOR)[0], "$token/49");
    $pdo->commit();
});
say("copy", function () use ($token) {
    $pdo = connection();
    $pdo->exec("create table copy_$token (n int, who text)");
    $pdo->pgsqlCopyFromArray("copy_$token", array_map(fn($n) => "$n\t$token\n", range(1, 2000)));
    equal(array_unique($pdo->pgsqlCopyToArray("(select who from copy_$token)")), ["$token\n"]);
    equal(value($pdo, "select count(*) from copy_$token"), 2000);
});
say("large_objects", function () use ($token) {
    $pdo = connection();
    $pdo->beginTransaction();
    $id = $pdo->pgsqlLOBCreate();
    $stream = $pdo->pgsqlLOBOpen($id, "w");
    fwrite($stream, str_repeat($token, 3000));
    $stream = null;
    $pdo->commit();
    $pdo->beginTransaction();
    equal(stream_get_contents($pdo->pgsqlLOBOpen($id, "r")), str_repeat($token, 3000));
    $pdo->pgsqlLOBUnlink($id);
    $pdo->commit();
});
say("listen_notify", function () use ($token) {
    $pdo = connection();
    $pdo->exec("listen channel_$token");
    connection()->exec("notify channel_$token, '$token'");
    $note = $pdo->pgsqlGetNotify(PDO::FETCH_ASSOC, 2000);
    equal($note ? $note["payload"] : "nothing", $token);
});

$words = sprintf("host=%s port=%s dbname=%s user=%s password=%s", getenv("PGHOST"), getenv("PGPORT"), getenv("PGDATABASE"), getenv("PGUSER"), getenv("PGPASSWORD"));
say("pgsql_query_params", function () use ($token, $words) {
    $on = pg_connect($words, PGSQL_CONNECT_FORCE_NEW);
    for ($n = 0; $n < 40; $n++) equal(pg_fetch_row(pg_query_params($on, 'select $1::text, $2::int', [$token, $n])), [$token, $n]);
    pg_close($on);
});
say("pgsql_prepare_execute", function () use ($token, $words) {
    $on = pg_connect($words, PGSQL_CONNECT_FORCE_NEW);
    pg_prepare($on, "mine", "select \$1::int + 1, '$token'");
    for ($n = 0; $n < 40; $n++) equal(pg_fetch_row(pg_execute($on, "mine", [$n])), [$n + 1, $token]);
    for ($n = 0; $n < 10; $n++) {
        pg_prepare($on, "", "select \$1::text, $n");
        equal(pg_fetch_row(pg_execute($on, "", [$token])), [$token, $n]);
        equal(pg_fetch_row(pg_execute($on, "", [$token])), [$token, $n]);
    }
    pg_close($on);
});
say("pgsql_async_and_cancel", function () use ($token, $words) {
    $on = pg_connect($words, PGSQL_CONNECT_FORCE_NEW);
    pg_send_query($on, "select pg_sleep(20)");
    usleep(300000);
    $started = microtime(true);
    equal(pg_cancel_query($on), true);
    equal(microtime(true) - $started < 10, true);
    equal(pg_fetch_row(pg_query($on, "select '$token'")), [$token]);
    pg_close($on);
});
say("pgsql_persistent_and_copy", function () use ($token, $words) {
    $on = pg_pconnect($words);
    pg_query($on, "create table pcopy_$token (n int, who text)");
    equal(pg_copy_from($on, "pcopy_$token", array_map(fn($n) => "$n\t$token\n", range(1, 500))), true);
    equal(count(pg_copy_to($on, "pcopy_$token")), 500);
    equal(pg_insert($on, "pcopy_$token", ["n" => 7, "who" => $token]) !== false, true);
    equal(pg_select($on, "pcopy_$token", ["n" => 7, "who" => $token])[0]["who"], $token);
});
echo "done\n";
