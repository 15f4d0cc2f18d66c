"""A support agent whose tool and instructions use a database of the application."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, RunContext
from pydantic_ai.models.test import TestModel


@dataclass
class Shop:
    database: sqlite3.Connection
    customer: int


class Reply(BaseModel):
    text: str
    escalate: bool


agent = Agent(
    TestModel(custom_output_args={"text": "Two are open.", "escalate": False}),
    deps_type=Shop,
    output_type=Reply,
)


@agent.instructions
def greet(context: RunContext[Shop]) -> str:
    query = "SELECT name FROM customers WHERE id = ?"
    (name,) = context.deps.database.execute(query, (context.deps.customer,)).fetchone()
    return f"You answer {name}, a customer of a shop, about orders."


@agent.tool
def count_orders(context: RunContext[Shop], state: Literal["open", "shipped"]) -> int:
    """Count the customer's orders."""
    query = "SELECT count(*) FROM orders WHERE customer = ? AND state = ?"
    (count,) = context.deps.database.execute(query, (context.deps.customer, state)).fetchone()
    return int(count)


def open_database() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("CREATE TABLE customers (id INTEGER, name TEXT)")
    database.execute("CREATE TABLE orders (customer INTEGER, state TEXT)")
    database.execute("INSERT INTO customers VALUES (1, 'Ada')")
    rows = [(1, "open"), (1, "open"), (1, "shipped"), (2, "open")]
    database.executemany("INSERT INTO orders VALUES (?, ?)", rows)
    return database


if __name__ == "__main__":
    with closing(open_database()) as database:
        result = agent.run_sync("How many orders are open?", deps=Shop(database, customer=1))
        print(result.output.text, result.output.escalate, result.usage.requests)
