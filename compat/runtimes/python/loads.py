import os

print("at load")
token = os.environ.get("TOKEN")
name = os.environ.get("__OW_ACTION_NAME")


def main(args):
    print("at run")
    return {"token": token, "name": name, "arguments": args}
