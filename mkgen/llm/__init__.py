"""Generation by language models: prompts, providers, answers, refinement, evolution."""
