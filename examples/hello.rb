def main(args)
  name = args.fetch('name', 'world')
  puts "greeting #{name}"
  { greeting: "Hello, #{name}!" }
end
