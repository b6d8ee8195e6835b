function other(args) {
  return args;
}
