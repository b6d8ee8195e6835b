def main(args)
  greeting = "Grüße, 世界 and #{args['name']}!"
  puts greeting
  { greeting: greeting }
end
