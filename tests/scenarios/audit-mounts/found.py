"""Exits with 0 if the report's control has this result, with this text somewhere in it."""

import json
import sys

control, result, text = sys.argv[1:]
with open("/tmp/report.json") as file:
    rows = [rule for rule in json.load(file)["rules"] if rule["control"] == control]
shown = [json.dumps(row, ensure_ascii=False) for row in rows]
if not any(row["result"] == result and text in line for row, line in zip(rows, shown)):
    print(f"{control} is not {result} with {text!r}:")
    for line in shown:
        print(line[:1500])
    sys.exit(1)
