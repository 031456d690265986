# ActiveRecord: migrations under an advisory lock, prepared statements, transactions, SET at connect.
require "active_record"
require_relative "contract"

CONFIG = { adapter: "postgresql", pool: 4, host: ENV["PGHOST"], port: ENV["PGPORT"], username: ENV["PGUSER"], password: ENV["PGPASSWORD"], database: ENV["PGDATABASE"], min_messages: "warning" }.freeze
ActiveRecord::Base.establish_connection(CONFIG)
ActiveRecord::Base.logger = nil
ActiveRecord::Migration.verbose = false

class Account < ActiveRecord::Base
  self.table_name = "account_#{TOKEN}"
  has_many :orders, dependent: :destroy
end

class Order < ActiveRecord::Base
  self.table_name = "order_#{TOKEN}"
  belongs_to :account
end

class CreateTables < ActiveRecord::Migration[6.1]
  def change
    create_table("account_#{TOKEN}") { |t| t.string :name, index: { unique: true }; t.jsonb :data; t.timestamps }
    create_table("order_#{TOKEN}") { |t| t.integer :amount; t.references :account }
  end
end

module Driver
  module_function

  # A class of its own has a pool of its own.
  def connect
    @made = (@made || 0) + 1
    model = Class.new(ActiveRecord::Base) { self.abstract_class = true }
    Object.const_set("Session#{@made}", model)
    model.establish_connection(CONFIG)
    model
  end

  def close(model)
    model.connection_pool.disconnect!
    model.remove_connection
  end

  def exec(model, sql) = model.connection.execute(sql)
  def first(model, sql) = model.connection.exec_query(sql, "SQL", [], prepare: false).rows.first.first.to_s
end

scenario("migrate") do
  # As `rails db:migrate` does: one lock per database, no waiting for it.
  version = 20_260_101_000_000 + ME
  migration = CreateTables.new("CreateTables", version)
  begin
    ActiveRecord::SchemaMigration.create_table
    ActiveRecord::Migrator.new(:up, [migration], ActiveRecord::SchemaMigration).migrate
  rescue ActiveRecord::ConcurrentMigrationError, ActiveRecord::RecordNotUnique, ActiveRecord::StatementInvalid
    (@tries = (@tries || 0) + 1) < 100 or raise
    sleep 0.05
    retry
  end
  equal(Account.table_exists?, true)
end

scenario("create_and_find") do
  15.times do |n|
    account = Account.create!(name: "#{TOKEN}/#{n}", data: { who: TOKEN })
    5.times { |k| account.orders.create!(amount: k) }
  end
  found = Account.includes(:orders).order(:id).map { |a| "#{a.name} #{a.orders.size} #{a.data["who"]}" }
  equal(found, (0...15).map { |n| "#{TOKEN}/#{n} 5 #{TOKEN}" })
  30.times { |n| equal(Account.find_by(name: "#{TOKEN}/#{n % 15}").name, "#{TOKEN}/#{n % 15}") }
  equal(Order.joins(:account).where(account: { name: "#{TOKEN}/3" }).sum(:amount), 10) rescue equal(Order.where(account_id: Account.find_by(name: "#{TOKEN}/3").id).sum(:amount), 10)
end

scenario("transactions") do
  Account.transaction do
    Account.create!(name: "#{TOKEN}/kept")
    begin
      Account.transaction(requires_new: true) { Account.create!(name: "#{TOKEN}/0") }
    rescue ActiveRecord::RecordNotUnique
      nil
    end
    Account.transaction(requires_new: true) { Account.create!(name: "#{TOKEN}/gone"); raise ActiveRecord::Rollback }
  end
  equal(Account.count, 16)
  Account.transaction(isolation: :serializable) { equal(Account.connection.select_value("show transaction_isolation"), "serializable") }
end

scenario("locking_and_batches") do
  Account.find_by(name: "#{TOKEN}/1").with_lock { equal(Account.where(name: "#{TOKEN}/1").count, 1) }
  total = 0
  Order.find_each(batch_size: 10) { |order| total += order.amount }
  equal(total, 150)
end

scenario("advisory_lock_api") do
  equal(Account.connection.get_advisory_lock(1000 + ME), true)
  equal(Account.connection.release_advisory_lock(1000 + ME), true)
end

scenario("many_statements") do
  # More than the statement limit of a smaller cache.
  250.times { |n| equal(Account.where(name: "#{TOKEN}/1").where("#{n} = #{n}").limit(1).pluck(:name), ["#{TOKEN}/1"]) }
end

scenario("statement_limit") do
  small = Driver.connect
  small.establish_connection(CONFIG.merge(statement_limit: 10))
  120.times { |n| equal(small.connection.exec_query("select $1::text as who, #{n % 40} as n", "SQL", [TOKEN], prepare: true).rows, [[TOKEN, n % 40]]) }
  small.connection_pool.disconnect!
end

scenario("variables_at_connect") do
  one = Driver.connect
  one.establish_connection(CONFIG.merge(variables: { statement_timeout: "9#{ME}s", work_mem: "1#{ME}MB" }, schema_search_path: "s_#{TOKEN},public"))
  5.times { equal(one.connection.select_value("select current_setting('statement_timeout') || current_setting('work_mem') || current_setting('search_path')"), "9#{ME}s1#{ME}MBs_#{TOKEN}, public") }
  one.connection_pool.disconnect!
end

scenario("session_of_active_record") do
  # It sets standard_conforming_strings, client_min_messages, TimeZone and intervalstyle.
  8.times { equal(Account.connection.select_rows("select current_setting('client_min_messages'), current_setting('timezone'), current_setting('intervalstyle')"), [%w[warning UTC iso_8601]]) }
end

scenario("threads") do
  got = 4.times.map { |t| Thread.new { Account.connection_pool.with_connection { |c| 20.times.map { |n| c.select_value("select '#{TOKEN}/#{t}/#{n}'") } } } }
  equal(got.flat_map(&:value), 4.times.flat_map { |t| 20.times.map { |n| "#{TOKEN}/#{t}/#{n}" } })
end

scenario("schema_changes") do
  Account.connection.add_column("account_#{TOKEN}", :extra, :string, default: TOKEN)
  Account.reset_column_information
  3.times { equal(Account.find_by(name: "#{TOKEN}/2").extra, TOKEN) }
end

main("#{ActiveRecord.version} on ruby-pg #{PG::VERSION}", Driver)
