# ruby-pg.
require "pg"
require_relative "contract"

module Driver
  module_function

  def connect(...) = PG.connect(...)
  def close(connection) = connection.close
  def exec(connection, sql) = connection.exec(sql)
  def first(connection, sql) = connection.exec_params(sql, []).getvalue(0, 0)
end

def on(name, **options)
  scenario(name) do
    connection = PG.connect(**options)
    yield connection
  ensure
    connection&.close
  end
end

on("parameters") do |c|
  40.times { |n| equal(c.exec_params("select $1::text, $2::int, $3::text", [TOKEN, n, nil]).values, [[TOKEN, n.to_s, nil]]) }
end

on("prepared_statements") do |c|
  c.prepare("mine", "select $1::int + 1, '#{TOKEN}'")
  60.times { |n| equal(c.exec_prepared("mine", [n]).values, [[(n + 1).to_s, TOKEN]]) }
  equal(c.describe_prepared("mine").nparams, 1)
  fails("42P05") { c.prepare("mine", "select 1") }
  fails("26000") { c.exec_prepared("not mine") }
end

on("unnamed_statement") do |c|
  20.times do |n|
    c.prepare("", "select $1::text, #{n}")
    3.times { equal(c.exec_prepared("", [TOKEN]).values, [[TOKEN, n.to_s]]) }
  end
end

on("many_prepared_statements") do |c|
  250.times { |n| c.prepare("s#{n}", "select $1::text, #{n}") }
  2.times { 250.times { |n| equal(c.exec_prepared("s#{n}", [TOKEN]).values, [[TOKEN, n.to_s]]) } }
end

on("transactions") do |c|
  c.exec("create table t_#{TOKEN} (n int primary key, who text)")
  20.times do |n|
    c.transaction do |tx|
      tx.exec_params("insert into t_#{TOKEN} values ($1, $2)", [n, TOKEN])
      raise IndexError if (n % 3).zero?
    end
  rescue IndexError
    nil
  end
  fails("23505") { c.transaction { |tx| tx.exec("insert into t_#{TOKEN} values (1)") } }
  equal(c.exec("select count(*) from t_#{TOKEN} where who = '#{TOKEN}'").getvalue(0, 0), "13")
end

on("copy") do |c|
  c.exec("create table c_#{TOKEN} (n int, who text)")
  c.copy_data("copy c_#{TOKEN} from stdin") { 2000.times { |n| c.put_copy_data("#{n}\t#{TOKEN}\n") } }
  got = []
  c.copy_data("copy (select who from c_#{TOKEN}) to stdout") { while (row = c.get_copy_data) do got << row end }
  equal(got, ["#{TOKEN}\n"] * 2000)
  fails("57014") { c.copy_data("copy c_#{TOKEN} from stdin") { raise "given up" } } rescue equal($!.message.include?("given up"), true)
  equal(c.exec("select count(*) from c_#{TOKEN}").getvalue(0, 0), "2000")
end

on("pipeline") do |c|
  c.enter_pipeline_mode
  5.times do
    20.times { |n| c.send_query_params("select $1::text, $2::int", [TOKEN, n]) }
    c.pipeline_sync
    20.times do |n|
      equal(c.get_result.values, [[TOKEN, n.to_s]])
      equal(c.get_result, nil)
    end
    equal(c.get_result.result_status, PG::PGRES_PIPELINE_SYNC)
  end
  c.exit_pipeline_mode
end

on("single_row_mode") do |c|
  c.send_query_params("select n, $1::text from generate_series(1, 500) n", [TOKEN])
  c.set_single_row_mode
  sum = 0
  while (result = c.get_result)
    result.check
    result.each_row { |n, who| sum += n.to_i if who == TOKEN }
  end
  equal(sum, 125_250)
end

on("listen_notify") do |c|
  c.exec("listen channel_#{TOKEN}")
  other = PG.connect
  other.exec("notify channel_#{TOKEN}, '#{TOKEN}'")
  other.close
  got = nil
  c.wait_for_notify(2) { |_, _, payload| got = payload }
  equal(got, TOKEN)
end

on("cancel") do |c|
  2.times do
    Thread.new { sleep 0.3; c.cancel }
    fails("57014") { c.exec("select pg_sleep(10)") }
    equal(c.exec_params("select $1::text", [TOKEN]).getvalue(0, 0), TOKEN)
  end
end

on("large_objects") do |c|
  oid = nil
  c.transaction do
    oid = c.lo_creat
    fd = c.lo_open(oid, PG::INV_WRITE | PG::INV_READ)
    c.lo_write(fd, TOKEN * 1000)
    c.lo_lseek(fd, 0, PG::SEEK_SET)
    equal(c.lo_read(fd, 100_000), TOKEN * 1000)
    c.lo_close(fd)
  end
  c.transaction { c.lo_unlink(oid) }
end

on("reset_of_the_connection") do |c|
  c.exec("set timezone = 'Etc/GMT+#{ME}'")
  c.reset
  equal(c.exec("show timezone").getvalue(0, 0) == "Etc/GMT+#{ME}", false)
end

on("startup_parameters", application_name: "app #{TOKEN}", options: "-c timezone=Etc/GMT+#{ME} -c statement_timeout=9s") do |c|
  5.times do
    got = c.exec("select current_setting('application_name'), current_setting('timezone'), current_setting('statement_timeout')")
    equal(got.values, [["app #{TOKEN}", "Etc/GMT+#{ME}", "9s"]])
  end
end

on("internal_encoding") do |c|
  c.internal_encoding = Encoding::ISO_8859_1
  5.times { equal(c.exec("select 'größe'").getvalue(0, 0).encode("UTF-8"), "größe") }
end

main("#{PG::VERSION}", Driver)
