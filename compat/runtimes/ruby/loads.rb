puts 'at load'
TOKEN = ENV['TOKEN']
NAME = ENV['__OW_ACTION_NAME']

def main(args)
  puts 'at run'
  { token: TOKEN, name: NAME, arguments: args }
end
