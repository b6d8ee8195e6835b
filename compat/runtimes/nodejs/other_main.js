function niam(args) {
  return { niam: args };
}
