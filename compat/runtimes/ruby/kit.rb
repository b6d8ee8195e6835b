# Does what `do` says; ../README.md lists the deeds.
class Kit
  def initialize
    @count = 0
    @here = 0
  end

  def count(_args)
    { count: @count += 1 }
  end

  def log(args)
    streams = { 'stdout' => $stdout, 'stderr' => $stderr }
    args['lines'].each { |stream, text| streams[stream].puts(text) }
    {}
  end

  def tail(args)
    print args['text']
    {}
  end

  def flood(args)
    args['lines'].times { puts 'x' * args['width'] }
    { lines: args['lines'] }
  end

  def env(args)
    args['names'].to_h { |name| [name, ENV[name]] }
  end

  def make(args)
    { text: 'x' * args['bytes'] }
  end

  def throw(_args)
    raise 'boom'
  end

  def exit(_args)
    puts 'before the exit'
    exit!(3)
  end

  def hang(_args)
    puts 'before the wait'
    sleep
  end

  def hog(_args)
    kept = []
    loop { kept << '1' * (1 << 20) }
  end

  def number(_args)
    5
  end

  def text(_args)
    'five'
  end

  def nothing(_args); end

  def list(_args)
    [1, 'two', { three: 3 }]
  end

  def error(args)
    { error: args['error'] }
  end

  def read(args)
    { text: File.read(args['path']) }
  end

  def write(args)
    File.write(args['path'], args['text'])
    { wrote: true }
  rescue SystemCallError
    { wrote: false }
  end

  def stdin(_args)
    { stdin: $stdin.read }
  end

  def meet(args)
    puts "#{args['name']} comes"
    @here += 1
    sleep 0.005 until @here >= args['runs']
    warn "#{args['name']} goes"
    { met: args['runs'], name: args['name'] }
  end
end

KIT = Kit.new

def main(args)
  KIT.public_send(args['do'], args)
end
