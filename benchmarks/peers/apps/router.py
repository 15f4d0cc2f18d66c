"""A router that passes each question to one of two sub-agents."""

from pydantic_ai import Agent, RunContext
from pydantic_ai.models.test import TestModel

billing = Agent(TestModel(custom_output_text="Invoice 7 is due."), instructions="Invoices only.")
travel = Agent(TestModel(custom_output_text="The train is late."), instructions="Travel only.")
router = Agent(
    TestModel(call_tools=["ask_billing"], custom_output_text="Invoice 7 is due."),
    instructions="Pass each question to one agent.",
)


@router.tool
async def ask_billing(context: RunContext[object], question: str) -> str:
    """Answer questions about invoices."""
    return (await billing.run(question, usage=context.usage)).output


@router.tool
async def ask_travel(context: RunContext[object], question: str) -> str:
    """Answer questions about journeys."""
    return (await travel.run(question, usage=context.usage)).output


if __name__ == "__main__":
    result = router.run_sync("What do I owe?")
    print(result.output, result.usage.requests)
