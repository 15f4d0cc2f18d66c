"""Give an agent tools that use objects of your application: a database, a client, a user.

A tool is a function, so its dependencies are bound beforehand, here by a closure. `ToolContext`
gives access to the run: progress, the session, the token budget.
"""

import asyncio
import sqlite3

from agentkit import Agent, ScriptedModel, Tool, ToolCall, ToolContext, tool


def order_tools(database: sqlite3.Connection, customer: int) -> list[Tool]:
    """Build the tools for one customer; the model can neither see nor change which."""

    @tool
    def count_orders(context: ToolContext, state: str = "open") -> int:
        """Count the customer's orders.

        Args:
            state: "open" or "shipped".
        """
        context.report("querying the database")
        query = "SELECT count(*) FROM orders WHERE customer = ? AND state = ?"
        (count,) = database.execute(query, (customer, state)).fetchone()
        return int(count)

    return [count_orders]


async def main() -> None:
    database = sqlite3.connect(":memory:", check_same_thread=False)  # tools run in threads
    database.execute("CREATE TABLE orders (customer INTEGER, state TEXT)")
    rows = [(1, "open"), (1, "open"), (1, "shipped"), (2, "open")]
    database.executemany("INSERT INTO orders VALUES (?, ?)", rows)

    model = ScriptedModel([ToolCall("1", "count_orders", {"state": "open"}), "Two are open."])
    agent = Agent(model, order_tools(database, customer=1))
    answer = await agent.run("How many of my orders are open?")
    print(answer.tool_calls, answer.messages[3].text, answer.text)
    database.close()


if __name__ == "__main__":
    asyncio.run(main())
