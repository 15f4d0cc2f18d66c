"""Pass each question to one of two sub-agents, whose events, usage and citations are the router's.

A sub-agent is a tool: it gets the run's `deps`, and a call in it that needs approval pauses both.
"""

from agentkit import Agent, ScriptedModel, ToolCall

billing = Agent(ScriptedModel(["Invoice 7 is due."]), instructions="Invoices only.")
travel = Agent(ScriptedModel(["The train is late."]), instructions="Journeys only.")
call = ToolCall("1", "ask_billing", {"question": "What is due?"})
router = Agent(
    ScriptedModel([call, "Invoice 7 is due."]),
    [
        billing.as_tool("ask_billing", "Answer questions about invoices."),
        travel.as_tool("ask_travel", "Answer questions about journeys."),
    ],
    instructions="Pass each question to one agent.",
)

if __name__ == "__main__":
    answer = router.run_sync("What do I owe?")
    print(answer.text, answer.usage.requests)
