print("at load")
raise RuntimeError("not today")
