def main(args):
    return {"forecast": "{city}: {mean} {unit}".format(**args)}
