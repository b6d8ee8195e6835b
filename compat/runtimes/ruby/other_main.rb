def niam(args)
  { niam: args }
end
