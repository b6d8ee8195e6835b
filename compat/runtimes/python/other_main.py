def niam(args):
    return {"niam": args}
