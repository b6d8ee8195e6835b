# frozen_string_literal: true

# Loads one Ruby action and runs it as often as it is told to.
#
# The server speaks to it in lines, as `runtimes/README.md` says: orders come on
# standard input, frames go out on file descriptor 3. One order is one line, one
# answer is one write, and whatever user code prints is framed and written at
# that moment, so that nothing is lost when the process dies in the next.
#
# It starts without RubyGems, which take longer than all the rest, and fetches
# them when user code asks for something that is not there without them.
#
# It refuses to guess: an order that it cannot read ends the process, or the run
# when the order says which one it is. It sets no limits of its own on time,
# memory or sizes, since the sandbox around it does, and it is no wall: user code
# runs beside it and could reach it.

require 'json'

# What is not user code.
module Whisker
  # Where frames go.
  FRAMES_FD = 3
  # Longest log line; OpenWhisk's log driver splits longer ones as well.
  LINE_BYTES = 16_384
  # Deepest argument and result.
  NESTING = 1000
  # Exit status after an order that cannot be obeyed: EX_SOFTWARE.
  BROKEN = 70

  NO_CODE = 'Missing main/no code to execute.'
  NO_ENTRY = 'Invalid Ruby Code: zipped actions must contain main.rb at the root.'
  NOT_PARSED = 'Invalid Ruby Code: failed to parse the input code'
  NOT_LOADED = 'Invalid Ruby Code: method checking failed / '
  NOT_RUN = 'Invalid Action: the execution was not successful. / '
  NOT_A_RESULT = 'The action did not return a dictionary or array.'
  NOT_JSON = 'The action did not produce a valid JSON or JSON Array response: '

  # Initialisation failed, for the reason given; details are in the log.
  class Refusal < StandardError; end

  # Variables that are set again and again. The C library keeps whatever was set until
  # the process ends, which is 200 bytes a run. So a process that has run for a while
  # has places of its own for them, and writes over what is there. What that takes is
  # not loaded by one that has not.
  class Environment
    # Values that are set the usual way.
    AT_FIRST = 1000

    def initialize
      @count = 0
      @usual = true
      @places = {} # By name and length of the value.
    end

    def set(name, value)
      if @usual
        ENV[name] = value
        @count += 1
        @usual = @count != AT_FIRST || !load
      else
        place = @places[[name, value.bytesize]] ||= Fiddle::Pointer.malloc(name.bytesize + value.bytesize + 2)
        text = "#{name}=#{value}\0"
        place[0, text.bytesize] = text
        @putenv.call(place)
      end
    end

    private

    # Whether this Ruby can do it.
    def load
      require 'fiddle'
      @putenv = Fiddle::Function.new(Fiddle::Handle::DEFAULT['putenv'], [Fiddle::TYPE_VOIDP], Fiddle::TYPE_INT)
    rescue LoadError, Fiddle::DLError
      nil
    end
  end

  # One run, or the initialisation: owns the log lines written under it.
  class Owner
    attr_reader :id
    attr_accessor :done

    def initialize(id)
      @id = id
      @done = false
      @tails = { 'O' => ''.b, 'E' => ''.b }
    end

    # Frames for `bytes` written to `stream`; an unfinished line waits.
    def frames(stream, bytes)
      *lines, tail = (@tails[stream] + bytes).split("\n".b, -1)
      if tail.bytesize > LINE_BYTES || done && !tail.empty?
        *full, tail = done ? [tail, ''.b] : Whisker.pieces(tail)
        lines.concat(full)
      end
      @tails[stream] = tail
      head = "#{stream} #{id} #{Whisker.micros} "
      lines.flat_map { |line| Whisker.pieces(line) }.map { |line| "#{head}#{line}\n".b }.join
    end

    # Frames for the lines that the activation leaves unfinished at its end.
    def rest
      %w[O E].reject { |stream| @tails[stream].empty? }.map { |stream| frames(stream, "\n".b) }.join
    end
  end

  # Stands where `$stdout` or `$stderr` was. Its descriptor is the real one's,
  # so that children which are given this stream write there.
  class Stream < IO
    def self.over(descriptor, letter)
      stream = new(descriptor, 'w', autoclose: false)
      stream.instance_variable_set(:@letter, letter)
      stream.sync = true
      stream
    end

    def write(*items)
      texts = items.map { |item| Whisker.bytes(item.to_s) }
      Whisker.print(@letter, texts.join)
      texts.sum(&:bytesize)
    end

    def syswrite(item)
      write(item)
    end

    def write_nonblock(item, **)
      write(item)
    end

    # Stays open: nobody can close it for the next run.
    def close; end

    alias close_write close
  end

  class << self
    # The lines of `text` in UTF-8, as far as it says what it is in.
    def bytes(text)
      return text.b if [Encoding::UTF_8, Encoding::US_ASCII, Encoding::BINARY].include?(text.encoding)

      text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).b
    end

    # Cuts a line into pieces of LINE_BYTES, never inside a character.
    def pieces(line)
      return [line] if line.bytesize <= LINE_BYTES

      parts = []
      start = 0
      while start < line.bytesize
        stop = [start + LINE_BYTES, line.bytesize].min
        stop -= 1 while stop > start && stop < line.bytesize && line.getbyte(stop) & 0xC0 == 0x80
        stop = start + LINE_BYTES if stop == start # not UTF-8 at all
        parts << line.byteslice(start, stop - start)
        start = stop
      end
      parts
    end

    def micros
      Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)
    end

    # What user code prints: framed, but for a forked child's.
    def print(letter, bytes)
      return @real.fetch(letter).syswrite(bytes) unless @framed

      @lock.synchronize do
        frames = owner.frames(letter, bytes)
        send_frames(frames) unless frames.empty?
      end
    end

    # Whose line is printed now: the run's that this thread belongs to, else
    # the one that began last.
    def owner
      Thread.current.thread_variable_get(:whisker_owner) || @owner
    end

    # Writes frames, all of them, before it returns.
    def send_frames(data)
      data = data.byteslice(@frames.syswrite(data)..-1) until data.empty?
    rescue Errno::EAGAIN
      IO.select(nil, [@frames])
      retry
    rescue SystemCallError => e
      broken("cannot write frames: #{e.class}")
    end

    # Sends a last frame, after the lines that were left unfinished.
    def finish(owner, frame)
      @lock.synchronize do
        rest = owner.rest
        owner.done = true
        send_frames(rest + "#{frame}\n".b)
      end
    end

    # Moves the orders away from descriptor 0, which gets an empty input, and
    # frames what is printed from here on. User code that reads standard input,
    # or a child that inherits it, must not eat orders.
    def take_streams
      @orders = IO.for_fd(0).dup
      @orders.binmode
      STDIN.reopen(File::NULL)
      @frames = IO.for_fd(FRAMES_FD, 'wb', autoclose: false)
      [@orders, @frames].each { |io| io.close_on_exec = true }
      @lock = Monitor.new
      @owner = Owner.new('0' * 32)
      @framed = true
      @real = { 'O' => STDOUT, 'E' => STDERR }
      out = Stream.over(1, 'O')
      err = Stream.over(2, 'E')
      { STDOUT: out, STDERR: err }.each do |name, stream|
        Object.send(:remove_const, name)
        Object.const_set(name, stream)
      end
      $stdout = out
      $stderr = err
    end

    # Cuts a forked child off: it must neither answer nor take an order. What
    # it prints goes to the real streams. If it comes back from the user's
    # function, it finds the end of its input and leaves.
    def in_child
      @framed = false
      @lock = Monitor.new
      [@orders, @frames].each { |io| io.reopen(File.open(File::NULL, 'r+')) }
    end

    # ---- initialisation ------------------------------------------------------

    # The action's method.
    def load_action(init)
      name, code, folder = init.values_at('main', 'code', 'folder')
      raise Refusal, NO_CODE if name.to_s.empty? || (code.to_s.empty? && !folder)

      (init['env'] || {}).each { |key, value| set_variable(key, value) }
      program = parse(code, folder)
      begin
        program.eval
        TOPLEVEL_BINDING.receiver.method(name.to_sym)
      rescue SystemExit, SignalException
        raise
      rescue Exception => e # rubocop:disable Lint/RescueException
        show(e)
        raise Refusal, NOT_LOADED + words(e)
      end
    end

    def parse(code, folder)
      if folder
        Dir.chdir(folder)
        $LOAD_PATH.unshift(folder)
        # `exec` is where the server puts what is no archive.
        path = %w[exec main.rb main__.rb].map { |name| File.join(folder, name) }.find { |file| File.file?(file) }
        raise Refusal, NO_ENTRY unless path

        code = File.read(path, encoding: Encoding::UTF_8)
      else
        path = File.join(Dir.pwd, 'main.rb')
      end
      $PROGRAM_NAME = path
      RubyVM::InstructionSequence.compile(code, path, path)
    rescue SyntaxError => e
      warn(e.message)
      raise Refusal, NOT_PARSED
    end

    def set_variable(key, value)
      ENV[key] = text_of(value)
    rescue SystemCallError, ArgumentError
      warn("'#{key}' cannot be the name of an environment variable")
    end

    def text_of(value)
      value.is_a?(String) ? value : value.nil? ? '' : JSON.generate(value)
    end

    # Prints an error with the lines of user code that led to it.
    def show(error)
      lines = (error.backtrace || []).reject { |line| line.start_with?(__FILE__) || line.start_with?('<internal:') }
      error.set_backtrace(lines)
      $stderr.write(error.full_message(highlight: false, order: :top))
    rescue StandardError
      $stderr.write("#{error.class}\n")
    end

    def words(error)
      "#{error.class}: #{error.message}"
    rescue StandardError
      error.class.to_s
    end

    # ---- runs ------------------------------------------------------------------

    def run(order, owner)
      value = order['value']
      result = @action.call(value.nil? ? {} : value)
      text = json_of(result)
      if text.start_with?('{', '[')
        "R #{owner.id} #{text}"
      else
        warn("The result must be a hash or an array, but it is a #{result.class}.")
        failed(owner, NOT_A_RESULT)
      end
    rescue JSON::GeneratorError, JSON::NestingError, EncodingError => e
      failed(owner, NOT_JSON + e.message)
    rescue SystemExit, SignalException
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException
      show(e)
      failed(owner, NOT_RUN + words(e))
    end

    # A result as one line. Texts that are no UTF-8, such as half of a surrogate
    # pair, get replacement characters.
    def json_of(result)
      JSON.generate(result, max_nesting: NESTING)
    rescue JSON::GeneratorError, EncodingError
      JSON.generate(clean(result), max_nesting: NESTING)
    end

    def clean(value)
      case value
      when String then value.encode(Encoding::UTF_8, invalid: :replace, undef: :replace).scrub("\ufffd")
      when Array then value.map { |item| clean(item) }
      when Hash then value.to_h { |key, item| [clean(key.to_s), clean(item)] }
      else value
      end
    end

    def failed(owner, message)
      "F #{owner.id} #{JSON.generate({ error: clean(message) })}"
    end

    # Sets `__OW_*`. Most of them never change.
    def export(order)
      order.each do |key, value|
        next if key == 'value' || @exported[key] == value

        @exported[key] = value
        @environment.set("__OW_#{key.upcase}", text_of(value))
      end
    end

    # ---- orders ----------------------------------------------------------------

    # Takes orders until there are no more.
    def serve
      @exported = {}
      @environment = Environment.new
      while (line = @orders.gets("\n"))
        order = read(line)
        next if order.nil?

        if order['activation_id'] then take_run(order)
        elsif order.key?('init') then take_init(order['init'])
        else broken('an order is neither an initialisation nor a run')
        end
      end
    end

    def read(line)
      order = JSON.parse(line.force_encoding(Encoding::UTF_8), max_nesting: NESTING)
      order.is_a?(Hash) ? order : broken('an order is not an object')
    rescue JSON::ParserError, EncodingError, SystemStackError => e
      unreadable(line.b, e)
    end

    # Answers a run whose argument is JSON, but more than Ruby takes. The server
    # writes the value before the activation's id, hence the last match.
    def unreadable(line, error)
      id = line.scan(/"activation_id"\s*:\s*"([0-9a-f]{32})"/n).flatten.last
      # Never show the line: it may hold the user's secrets.
      broken("an order of #{line.bytesize} bytes cannot be read (#{error.class})") unless id
      @owner = Owner.new(id)
      warn("The argument cannot be read: #{error.class}")
      finish(@owner, failed(@owner, 'Internal system error: the argument cannot be read.'))
      nil
    end

    def take_init(init)
      if @begun
        return @lock.synchronize { send_frames(%(I {"error":"Cannot initialize the action more than once."}\n).b) }
      end

      @begun = true
      @owner = Owner.new(init['activation'])
      follow_threads if (@concurrent = init['concurrent'])
      answer =
        begin
          @action = load_action(init)
          { ok: true }
        rescue Refusal => e
          { error: clean(e.message) }
        end
      finish(@owner, "I #{JSON.generate(answer)}")
    end

    def take_run(order)
      owner = Owner.new(order['activation_id'])
      @owner = owner
      return finish(owner, failed(owner, 'System not initialized.')) unless @action

      export(order)
      return finish(owner, run(order, owner)) unless @concurrent

      Thread.new do
        Thread.current.thread_variable_set(:whisker_owner, owner)
        finish(owner, run(order, owner))
      rescue SystemExit => e
        leave(e.status)
      end
    end

    # Threads that user code starts print for the run that started them.
    def follow_threads
      follow = Module.new do
        def initialize(*arguments, &block)
          owner = Thread.current.thread_variable_get(:whisker_owner)
          return super unless owner && block

          super(*arguments) do |*given|
            Thread.current.thread_variable_set(:whisker_owner, owner)
            block.call(*given)
          end
        end
      end
      Thread.prepend(follow)
    end

    # Says why on the real standard error, and ends.
    def broken(why)
      @real['E'].syswrite("launcher: #{why}\n")
      exit!(BROKEN)
    end

    # Ends at once, whatever threads of user code still do.
    def leave(status)
      @lock.synchronize { send_frames(@owner.rest) }
      exit!(status)
    end

    def main
      take_streams
      serve
      leave(0)
    rescue SystemExit => e
      # exit in user code.
      leave(e.status)
    end
  end

  # See `in_child`.
  module Forks
    def _fork
      pid = super
      Whisker.in_child if pid.zero?
      pid
    end
  end

  # RubyGems, when they are first missed.
  module Gems
    private

    def require(name)
      super
    rescue LoadError => e
      raise if e.path != name || $LOADED_FEATURES.any? { |file| file.end_with?('/rubygems.rb') }

      Kernel.require('rubygems')
      super
    end
  end
end

require 'monitor'
Encoding.default_external = Encoding::UTF_8
Process.singleton_class.prepend(Whisker::Forks)
Object.prepend(Whisker::Gems)
Object.autoload(:Gem, 'rubygems')
Whisker.main
