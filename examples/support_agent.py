"""Give tools and instructions the objects of your application: a database, a client, a user.

`deps` is given to a run and reaches them as `context.deps`; the model neither sees nor changes it.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from agentkit import Agent, RunContext, ScriptedModel, ToolCall, ToolContext, tool


@dataclass
class Shop:
    database: sqlite3.Connection
    customer: int


class Reply(BaseModel):
    text: str
    escalate: bool


def greet(context: RunContext[Shop]) -> str:
    query = "SELECT name FROM customers WHERE id = ?"
    (name,) = context.deps.database.execute(query, (context.deps.customer,)).fetchone()
    return f"You answer {name}, a customer of a shop, about orders."


@tool
def count_orders(context: ToolContext[Shop], state: Literal["open", "shipped"]) -> int:
    """Count the customer's orders."""
    query = "SELECT count(*) FROM orders WHERE customer = ? AND state = ?"
    (count,) = context.deps.database.execute(query, (context.deps.customer, state)).fetchone()
    return int(count)


call = ToolCall("1", "count_orders", {"state": "open"})
model = ScriptedModel([call, '{"text": "Two are open.", "escalate": false}'])
agent = Agent[Shop](model, [count_orders], instructions=greet)


def open_database() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", check_same_thread=False)  # tools run in threads
    database.execute("CREATE TABLE customers (id INTEGER, name TEXT)")
    database.execute("CREATE TABLE orders (customer INTEGER, state TEXT)")
    database.execute("INSERT INTO customers VALUES (1, 'Ada')")
    rows = [(1, "open"), (1, "open"), (1, "shipped"), (2, "open")]
    database.executemany("INSERT INTO orders VALUES (?, ?)", rows)
    return database


if __name__ == "__main__":
    with closing(open_database()) as database:
        deps = Shop(database, customer=1)
        answer = agent.run_sync("How many orders are open?", output=Reply, deps=deps)
        print(answer.output.text, answer.output.escalate, answer.usage.requests)
