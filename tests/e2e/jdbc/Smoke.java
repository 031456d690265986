// Smoke URL USER PASSWORD CLIENTS ROUNDS - what a Java application does through pgjdbc, checked answer by answer.
//
// Every client is a thread with values of its own, so that an answer that belongs to another one is noticed.

import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.largeobject.LargeObject;
import org.postgresql.largeobject.LargeObjectManager;

public class Smoke {
  private static final AtomicInteger checks = new AtomicInteger();

  private static void same(Object actual, Object expected, String what) {
    if (!expected.equals(actual)) {
      throw new AssertionError(what + ": " + actual + " instead of " + expected);
    }
    checks.incrementAndGet();
  }

  private static void fails(String sqlstate, Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      statement.execute(sql);
    } catch (SQLException error) {
      same(error.getSQLState(), sqlstate, sql);
      return;
    }
    throw new AssertionError(sql + ": no error");
  }

  // Threshold 1: the driver names its statement at once and binds it by name from then on.
  private static void prepared(Connection connection, int me) throws SQLException {
    String sql = "select ?::int + " + me + ", ?::text";
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int n = 0; n < 12; n++) {
        statement.setInt(1, n);
        statement.setString(2, "client " + me);
        try (ResultSet rows = statement.executeQuery()) {
          rows.next();
          same(rows.getInt(1), n + me, "prepared sum");
          same(rows.getString(2), "client " + me, "prepared text");
        }
      }
    }
  }

  private static void batch(Connection connection, int me, int round) throws SQLException {
    try (PreparedStatement insert =
        connection.prepareStatement("insert into jdbc_smoke (client, round, n) values (?, ?, ?)")) {
      for (int n = 0; n < 50; n++) {
        insert.setInt(1, me);
        insert.setInt(2, round);
        insert.setInt(3, n);
        insert.addBatch();
      }
      int[] counts = insert.executeBatch();
      same(Arrays.stream(counts).filter(count -> count == 1).count(), 50L, "batch");
    }
  }

  private static void failingBatch(Connection connection, int me, int round) throws SQLException {
    connection.setAutoCommit(false);
    try (PreparedStatement insert =
        connection.prepareStatement("insert into jdbc_smoke (client, round, n) values (?, ?, ?)")) {
      for (int n : new int[] {1000, 7, 1001}) { // 7 is there already
        insert.setInt(1, me);
        insert.setInt(2, round);
        insert.setInt(3, n);
        insert.addBatch();
      }
      insert.executeBatch();
      throw new AssertionError("the batch should have failed");
    } catch (SQLException error) {
      same(error.getSQLState(), "23505", "failing batch");
    }
    connection.rollback();
    connection.setAutoCommit(true);
  }

  // A portal with a row limit, fetched piece by piece inside one transaction.
  private static void cursor(Connection connection, int me) throws SQLException {
    connection.setAutoCommit(false);
    try (PreparedStatement select =
        connection.prepareStatement("select n * ? from generate_series(1, 1000) n")) {
      select.setFetchSize(37);
      select.setInt(1, me);
      long sum = 0;
      try (ResultSet rows = select.executeQuery()) {
        while (rows.next()) {
          sum += rows.getLong(1);
        }
      }
      same(sum, 500500L * me, "cursor");
    }
    connection.commit();
    connection.setAutoCommit(true);
  }

  private static void transaction(Connection connection, int me) throws SQLException {
    connection.setAutoCommit(false);
    int first = integer(connection, "select pg_backend_pid()");
    Savepoint here = connection.setSavepoint();
    fails("22012", connection, "select " + me + "/0");
    connection.rollback(here);
    same(integer(connection, "select pg_backend_pid()"), first, "a transaction stays on its server");
    connection.commit();
    connection.setAutoCommit(true);
  }

  private static int integer(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement();
        ResultSet rows = statement.executeQuery(sql)) {
      rows.next();
      return rows.getInt(1);
    }
  }

  private static void copy(Connection connection, int me, int round) throws Exception {
    CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
    StringBuilder lines = new StringBuilder();
    for (int n = 2000; n < 2500; n++) {
      lines.append(me).append('\t').append(round).append('\t').append(n).append('\n');
    }
    String target = "copy jdbc_smoke (client, round, n) from stdin";
    same(manager.copyIn(target, new StringReader(lines.toString())), 500L, "copy in");
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    String source =
        "copy (select client, round, n from jdbc_smoke where client = " + me + " and round = " + round
            + " and n >= 2000 order by n) to stdout";
    manager.copyOut(source, out);
    same(out.toString(StandardCharsets.UTF_8), lines.toString(), "copy out");
  }

  // Large objects go through FunctionCall messages.
  private static void largeObject(Connection connection, int me) throws SQLException {
    connection.setAutoCommit(false);
    LargeObjectManager manager = connection.unwrap(PGConnection.class).getLargeObjectAPI();
    long oid = manager.createLO();
    byte[] content = new byte[70000];
    Arrays.fill(content, (byte) me);
    try (LargeObject object = manager.open(oid, LargeObjectManager.READWRITE)) {
      object.write(content);
      object.seek(0);
      same(Arrays.equals(object.read(content.length), content), true, "large object");
    }
    manager.delete(oid);
    connection.commit();
    connection.setAutoCommit(true);
  }

  private static void errors(Connection connection, int me) throws SQLException {
    fails("42P01", connection, "select * from nowhere_" + me);
    fails("42601", connection, "selec");
    same(integer(connection, "select " + me), me, "usable after errors");
  }

  private static void oneClient(String url, Properties login, int me, int rounds) throws Exception {
    try (Connection connection = DriverManager.getConnection(url, login)) {
      for (int round = 0; round < rounds; round++) {
        prepared(connection, me);
        batch(connection, me, round);
        failingBatch(connection, me, round);
        cursor(connection, me);
        transaction(connection, me);
        copy(connection, me, round);
        largeObject(connection, me);
        errors(connection, me);
      }
      try (ResultSet tables = connection.getMetaData().getTables(null, "public", "jdbc%", null)) {
        same(tables.next(), true, "metadata");
      }
      String count = "select count(*) from jdbc_smoke where client = " + me;
      same(integer(connection, count), rounds * 550, "committed rows");
    }
  }

  public static void main(String[] arguments) throws Exception {
    Properties login = new Properties();
    login.setProperty("user", arguments[1]);
    login.setProperty("password", arguments[2]);
    login.setProperty("prepareThreshold", "1");
    int clients = Integer.parseInt(arguments[3]);
    int rounds = Integer.parseInt(arguments[4]);
    ExecutorService threads = Executors.newFixedThreadPool(clients);
    List<Future<?>> running = new ArrayList<>();
    for (int n = 1; n <= clients; n++) {
      int me = n;
      running.add(threads.submit(() -> {
        oneClient(arguments[0], login, me, rounds);
        return null;
      }));
    }
    threads.shutdown();
    for (Future<?> client : running) {
      client.get();
    }
    System.out.println("ok " + checks.get());
  }
}
