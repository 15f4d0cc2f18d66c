from agentkit.cli.main import main

main()
