def other(args)
  args
end
