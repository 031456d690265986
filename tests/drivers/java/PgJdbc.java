// pgjdbc: prepareThreshold, fetch size, batches, copy, large objects; the contract is in ../README.md.

import java.io.*;
import java.nio.file.*;
import java.sql.*;
import java.util.*;
import org.postgresql.*;
import org.postgresql.copy.*;
import org.postgresql.largeobject.*;

public class PgJdbc {
  interface Work { void run(Connection connection) throws Exception; }

  static final String ME = System.getenv("CLIENT"), TOKEN = "c" + ME;
  static final String URL = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");

  static Connection connect(String options) throws SQLException {
    return DriverManager.getConnection(URL + "?" + options, System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
  }

  static void say(String name, String options, Work work) {
    try (Connection connection = connect(options)) {
      work.run(connection);
      System.out.println("ok " + name);
    } catch (Throwable error) {
      if (System.getenv("TRACE") != null) error.printStackTrace();
      System.out.println("FAIL " + name + " " + String.valueOf(error).replaceAll("\\s+", " "));
    }
  }

  static void equal(Object got, Object wanted) {
    if (!Objects.equals(String.valueOf(got), String.valueOf(wanted))) throw new AssertionError(got + ", not " + wanted);
  }

  interface Failing { void run() throws Exception; }

  static void fails(String state, Failing work) throws Exception {
    try {
      work.run();
    } catch (SQLException error) {
      if (!state.equals(error.getSQLState())) throw new AssertionError(error.getSQLState() + ", not " + state + ": " + error.getMessage());
      return;
    }
    throw new AssertionError("no " + state);
  }

  static void exec(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) { statement.execute(sql); }
  }

  static String value(Connection connection, String sql, Object... parameters) throws SQLException {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int n = 0; n < parameters.length; n++) statement.setObject(n + 1, parameters[n]);
      try (ResultSet rows = statement.executeQuery()) { return rows.next() ? rows.getString(1) : "no row"; }
    }
  }

  static void play(List<String> steps) throws Exception {
    Map<Boolean, Connection> connections = new HashMap<>();
    try {
      int number = 0;
      for (String step : steps) {
        number++;
        boolean other = step.startsWith("other ");
        String line = other ? step.substring(6) : step;
        if (!connections.containsKey(other)) connections.put(other, connect(""));
        Connection on = connections.get(other);
        String verb = line.substring(0, line.indexOf(' ')), rest = line.substring(line.indexOf(' ') + 1);
        int at = rest.indexOf(" :: ");
        try {
          if (verb.equals("do")) exec(on, rest);
          else if (verb.equals("fails")) fails(rest.substring(0, at), () -> exec(on, rest.substring(at + 4)));
          else for (int n = 0; n < (verb.equals("same") ? 5 : 1); n++) equal(value(on, rest.substring(at + 4).replace("?", "??")), rest.substring(0, at));
        } catch (Throwable error) {
          throw new Exception("step " + number + " (" + step + "): " + error.getMessage());
        }
      }
    } finally {
      for (Connection each : connections.values()) each.close();
    }
  }

  public static void main(String[] arguments) throws Exception {
    Path session = Paths.get(arguments[0]);
    connect("").close();
    System.out.println("version " + org.postgresql.util.DriverInfo.DRIVER_VERSION + ", Java");
    System.out.println("ready");
    new BufferedReader(new InputStreamReader(System.in)).readLine();

    Map<String, List<String>> scenarios = new LinkedHashMap<>();
    List<String> steps = null;
    for (String line : Files.readAllLines(session)) {
      if (line.isEmpty() || line.startsWith("#")) continue;
      line = line.replace("{c}", ME).replace("{t}", TOKEN).replace("{d}", System.getenv("PGDATABASE"));
      if (line.startsWith("scenario ")) scenarios.put(line.substring(9), steps = new ArrayList<>());
      else steps.add(line);
    }
    // The driver insists on DateStyle ISO.
    scenarios.remove("set_reported");
    scenarios.forEach((name, list) -> say(name, "", unused -> play(list)));

    for (int threshold : new int[] {0, 1, 5, -1}) {
      say("prepare_threshold_" + threshold, "prepareThreshold=" + threshold, connection -> {
        try (PreparedStatement statement = connection.prepareStatement("select ?::text, ?::int, '" + TOKEN + "'")) {
          for (int n = 0; n < 40; n++) {
            statement.setString(1, TOKEN);
            statement.setInt(2, n);
            try (ResultSet rows = statement.executeQuery()) {
              rows.next();
              equal(rows.getString(1) + rows.getInt(2) + rows.getString(3), TOKEN + n + TOKEN);
            }
          }
        }
      });
    }
    for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
      say("query_mode_" + mode, "preferQueryMode=" + mode, connection -> {
        for (int n = 0; n < 20; n++) {
          equal(value(connection, "select ?::text", TOKEN), TOKEN);
          exec(connection, "select " + n);
        }
      });
    }
    say("statement_cache_overflows", "preparedStatementCacheQueries=40&prepareThreshold=1", connection -> {
      for (int n = 0; n < 300; n++) equal(value(connection, "select ? || '/" + n % 120 + "'", TOKEN), TOKEN + "/" + n % 120);
    });
    say("transactions", "", connection -> {
      connection.setAutoCommit(false);
      exec(connection, "create table t_" + TOKEN + " (n int primary key, who text)");
      connection.commit();
      connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
      try (PreparedStatement insert = connection.prepareStatement("insert into t_" + TOKEN + " values (?, ?)")) {
        for (int n = 0; n < 20; n++) {
          insert.setInt(1, n);
          insert.setString(2, TOKEN);
          insert.executeUpdate();
          Savepoint savepoint = connection.setSavepoint();
          fails("23505", () -> insert.executeUpdate());
          connection.rollback(savepoint);
          equal(value(connection, "show transaction_isolation"), "serializable");
          if (n % 3 == 0) connection.rollback(); else connection.commit();
        }
      }
      equal(value(connection, "select count(*) from t_" + TOKEN + " where who = ?", TOKEN), "13");
      connection.rollback();
    });
    say("autosave_always", "autosave=always", connection -> {
      connection.setAutoCommit(false);
      for (int n = 0; n < 10; n++) {
        fails("22012", () -> value(connection, "select 1 / ?::int", 0));
        equal(value(connection, "select ?::text", TOKEN), TOKEN);
        connection.commit();
      }
    });
    say("read_only", "", connection -> {
      connection.setReadOnly(true);
      connection.setAutoCommit(false);
      fails("25006", () -> exec(connection, "create table never_" + TOKEN + " (n int)"));
      connection.rollback();
    });
    say("read_only_always", "readOnlyMode=always", connection -> {
      connection.setReadOnly(true);
      for (int n = 0; n < 3; n++) fails("25006", () -> exec(connection, "create table never_" + TOKEN + " (n int)"));
    });
    say("fetch_size", "defaultRowFetchSize=50", connection -> {
      connection.setAutoCommit(false);
      try (PreparedStatement one = connection.prepareStatement("select n, ?::text from generate_series(1, 1000) n");
          PreparedStatement two = connection.prepareStatement("select ?::text")) {
        one.setString(1, TOKEN);
        long sum = 0;
        try (ResultSet rows = one.executeQuery()) {
          while (rows.next()) {
            sum += rows.getInt(1);
            equal(rows.getString(2), TOKEN);
            if (rows.getInt(1) % 300 == 0) {
              two.setString(1, TOKEN);
              try (ResultSet inner = two.executeQuery()) { inner.next(); equal(inner.getString(1), TOKEN); }
            }
          }
        }
        equal(sum, 500500);
      }
      connection.commit();
    });
    say("holdable_result_set", "defaultRowFetchSize=20", connection -> {
      connection.setAutoCommit(false);
      Statement statement = connection.createStatement(ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY, ResultSet.HOLD_CURSORS_OVER_COMMIT);
      ResultSet rows = statement.executeQuery("select n from generate_series(1, 100) n");
      rows.next();
      connection.commit();
      long sum = 1;
      while (rows.next()) sum += rows.getInt(1);
      equal(sum, 5050);
    });
    for (String rewrite : new String[] {"false", "true"}) {
      say("batch_rewrite_" + rewrite, "reWriteBatchedInserts=" + rewrite, connection -> {
        exec(connection, "create table batch_" + TOKEN + rewrite + " (n int primary key, who text)");
        try (PreparedStatement insert = connection.prepareStatement("insert into batch_" + TOKEN + rewrite + " values (?, ?)")) {
          for (int n = 0; n < 1000; n++) {
            insert.setInt(1, n);
            insert.setString(2, TOKEN);
            insert.addBatch();
          }
          equal(insert.executeBatch().length, 1000);
          insert.setInt(1, 5000);
          insert.setString(2, TOKEN);
          insert.addBatch();
          insert.setInt(1, 1);
          insert.addBatch();
          fails("23505", () -> insert.executeBatch());
        }
        equal(value(connection, "select count(*) from batch_" + TOKEN + rewrite + " where who = ? and n < 1000", TOKEN), "1000");
      });
    }
    say("generated_keys", "", connection -> {
      exec(connection, "create table keys_" + TOKEN + " (id serial, who text)");
      for (int n = 1; n < 10; n++) {
        try (PreparedStatement insert = connection.prepareStatement("insert into keys_" + TOKEN + " (who) values (?)", Statement.RETURN_GENERATED_KEYS)) {
          insert.setString(1, TOKEN);
          insert.executeUpdate();
          try (ResultSet keys = insert.getGeneratedKeys()) { keys.next(); equal(keys.getInt(1), n); }
        }
      }
    });
    say("copy", "", connection -> {
      exec(connection, "create table copy_" + TOKEN + " (n int, who text)");
      CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
      StringBuilder text = new StringBuilder();
      for (int n = 0; n < 3000; n++) text.append(n).append('\t').append(TOKEN).append('\n');
      equal(copy.copyIn("copy copy_" + TOKEN + " from stdin", new StringReader(text.toString())), 3000);
      StringWriter out = new StringWriter();
      copy.copyOut("copy (select who from copy_" + TOKEN + ") to stdout", out);
      equal(out.toString(), (TOKEN + "\n").repeat(3000));
      fails("22P02", () -> copy.copyIn("copy copy_" + TOKEN + " from stdin", new StringReader("x\ty\n")));
      CopyIn given = copy.copyIn("copy copy_" + TOKEN + " from stdin");
      given.cancelCopy();
      equal(value(connection, "select count(*) from copy_" + TOKEN), "3000");
    });
    say("large_objects", "", connection -> {
      connection.setAutoCommit(false);
      LargeObjectManager manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
      long id = manager.createLO();
      LargeObject object = manager.open(id, LargeObjectManager.READWRITE);
      object.write((TOKEN.repeat(20000)).getBytes());
      object.seek(TOKEN.length() * 19999);
      equal(new String(object.read(100)), TOKEN);
      object.close();
      connection.commit();
      manager.delete(id);
      connection.commit();
    });
    say("listen_notify", "", connection -> {
      exec(connection, "listen channel_" + TOKEN);
      try (Connection other = connect("")) { exec(other, "notify channel_" + TOKEN + ", '" + TOKEN + "'"); }
      PGNotification[] notes = connection.unwrap(PGConnection.class).getNotifications(2000);
      equal(notes == null || notes.length == 0 ? "nothing" : notes[0].getParameter(), TOKEN);
    });
    say("query_timeout", "", connection -> {
      for (int n = 0; n < 2; n++) {
        try (Statement statement = connection.createStatement()) {
          statement.setQueryTimeout(1);
          fails("57014", () -> statement.execute("select pg_sleep(20)"));
        }
        equal(value(connection, "select ?::text", TOKEN), TOKEN);
      }
    });
    say("cancel", "", connection -> {
      try (Statement statement = connection.createStatement()) {
        new Thread(() -> { try { Thread.sleep(300); statement.cancel(); } catch (Exception error) { } }).start();
        fails("57014", () -> statement.execute("select pg_sleep(20)"));
      }
      equal(value(connection, "select ?::text", TOKEN), TOKEN);
    });
    say("startup_parameters", "ApplicationName=app%20" + TOKEN + "&currentSchema=s" + TOKEN + "&options=-c%20statement_timeout=9s%20-c%20work_mem=1" + ME + "MB", connection -> {
      for (int n = 0; n < 5; n++)
        equal(value(connection, "select current_setting('application_name') || '/' || current_setting('search_path') || '/' || current_setting('statement_timeout') || '/' || current_setting('work_mem')"),
            "app " + TOKEN + "/s" + TOKEN + "/9s/1" + ME + "MB");
    });
    say("client_info_and_schema", "", connection -> {
      exec(connection, "create schema s_info_" + TOKEN);
      connection.setClientInfo("ApplicationName", "client info " + TOKEN);
      for (int n = 0; n < 5; n++) equal(value(connection, "show application_name"), "client info " + TOKEN);
      connection.setSchema("s_info_" + TOKEN);
      for (int n = 0; n < 5; n++) equal(connection.getSchema(), "s_info_" + TOKEN);
    });
    say("metadata", "", connection -> {
      exec(connection, "create table meta_" + TOKEN + " (n int primary key, who text)");
      for (int n = 0; n < 3; n++)
        try (ResultSet rows = connection.getMetaData().getColumns(null, "public", "meta_" + TOKEN, null)) { rows.next(); equal(rows.getString("COLUMN_NAME"), "n"); }
    });
    say("call_and_arrays", "", connection -> {
      exec(connection, "create function twice_" + TOKEN + "(n int) returns int language sql as 'select n * 2'");
      for (int n = 0; n < 20; n++)
        try (CallableStatement call = connection.prepareCall("{? = call twice_" + TOKEN + "(?)}")) {
          call.registerOutParameter(1, Types.INTEGER);
          call.setInt(2, n);
          call.execute();
          equal(call.getInt(1), 2 * n);
        }
      equal(value(connection, "select (?::text[])[2]", connection.createArrayOf("text", new String[] {"a", TOKEN})), TOKEN);
    });
    say("table_changes_under_a_statement", "prepareThreshold=1", connection -> {
      exec(connection, "create table ch_" + TOKEN + " as select 1 as a");
      try (PreparedStatement statement = connection.prepareStatement("select * from ch_" + TOKEN)) {
        for (int n = 0; n < 4; n++) try (ResultSet rows = statement.executeQuery()) { equal(rows.getMetaData().getColumnCount(), 1); }
        exec(connection, "alter table ch_" + TOKEN + " add column b text default '" + TOKEN + "'");
        for (int n = 0; n < 4; n++) try (ResultSet rows = statement.executeQuery()) { rows.next(); equal(rows.getMetaData().getColumnCount() + rows.getString(2), "2" + TOKEN); }
      }
    });
    System.out.println("done");
  }
}
