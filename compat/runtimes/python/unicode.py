def main(args):
    greeting = f"Grüße, 世界 and {args['name']}!"
    print(greeting)
    return {"greeting": greeting}
