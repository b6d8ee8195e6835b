#!/usr/bin/env python3
import json
import sys

greeting = f"Grüße, 世界 and {json.loads(sys.argv[1])['name']}!"
print(greeting)
print(json.dumps({"greeting": greeting}, ensure_ascii=False))
