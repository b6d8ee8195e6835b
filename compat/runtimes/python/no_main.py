def other(args):
    return args
