# The contract of tests/drivers for programs in Ruby; see ../README.md.
$stdout.sync = true
ME = ENV.fetch("CLIENT").to_i
TOKEN = "c#{ME}"
SCENARIOS = []

def scenario(name, &block) = SCENARIOS << [name, block]

def equal(got, wanted)
  raise "#{got.inspect}, not #{wanted.inspect}" unless got == wanted
end

def sqlstate(error)
  error = error.cause || error if error.class.name.start_with?("ActiveRecord")
  error.respond_to?(:result) && error.result ? error.result.error_field(PG::Result::PG_DIAG_SQLSTATE) : nil
end

def fails(state)
  got = yield
rescue StandardError => e
  raise "#{e.class} #{sqlstate(e)}, not #{state}: #{e.message}" unless sqlstate(e) == state
else
  raise "no #{state} but #{got.inspect}"
end

def say(name)
  yield
  puts "ok #{name}"
rescue Exception => e # rubocop:disable Lint/RescueException
  warn e.full_message if ENV["TRACE"]
  puts "FAIL #{name} #{e.class}: #{e.message.split.join(" ")[0, 400]}"
end

def session_scenarios
  scenarios = {}
  steps = nil
  File.foreach(File.join(__dir__, "..", "session.txt"), encoding: "UTF-8") do |line|
    line = line.gsub("{c}", ME.to_s).gsub("{t}", TOKEN).gsub("{d}", ENV["PGDATABASE"]).strip
    next if line.empty? || line.start_with?("#")

    if line.start_with?("scenario ") then steps = scenarios[line.delete_prefix("scenario ")] = []
    else steps << line
    end
  end
  scenarios
end

# `driver` answers connect, close(c), exec(c, sql) and first(c, sql), the first value as text.
def play(steps, driver)
  connections = {}
  steps.each_with_index do |step, index|
    other = step.start_with?("other ")
    verb, rest = step.delete_prefix("other ").split(" ", 2)
    on = connections[other] ||= driver.connect
    value, sql = rest.split(" :: ", 2)
    begin
      case verb
      when "do" then driver.exec(on, rest)
      when "is" then equal(driver.first(on, sql), value)
      when "same" then 5.times { equal(driver.first(on, sql), value) }
      when "fails" then fails(value) { driver.exec(on, sql) }
      end
    rescue StandardError => e
      raise "step #{index + 1} (#{step}): #{e.message}"
    end
  end
ensure
  connections.each_value { |each| driver.close(each) }
end

def main(version, driver)
  driver.close(driver.connect)
  puts "version #{version}", "ready"
  $stdin.gets
  session_scenarios.each { |name, steps| say(name) { play(steps, driver) } }
  SCENARIOS.each { |name, block| say(name, &block) }
  puts "done"
end
