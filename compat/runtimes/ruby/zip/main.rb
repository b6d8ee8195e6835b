require 'lib/greet'

def main(args)
  { greeting: greet(args['name']), data: File.read('data.txt').strip }
end
