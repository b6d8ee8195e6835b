from greetings.greet import greet


def main(args):
    with open("data.txt") as file:
        return {"greeting": greet(args["name"]), "data": file.read().strip()}
